"""Ground truth and measurements of learnt representations; what they cost."""

from minc_tf.diagnostics.collapse import effective_rank, embedding_std
from minc_tf.diagnostics.curvature import hessian_density, hessian_eigenvalues
from minc_tf.diagnostics.dimensions import dimension_std, spectrum
from minc_tf.diagnostics.exchange import (
    exchanged_bytes,
    network_bytes,
    ring_bytes,
)
from minc_tf.diagnostics.geometry import alignment, rank_me, uniformity
from minc_tf.diagnostics.gradient_statistics import gradient_statistics
from minc_tf.diagnostics.gradient_variance import (
    compare_gradient_variance,
    gradient_variance,
)
from minc_tf.diagnostics.graph import AugmentationGraph
from minc_tf.diagnostics.information import captured_share, chi2_information
from minc_tf.diagnostics.ordering import Ordering, order

__all__ = [
    "AugmentationGraph",
    "Ordering",
    "alignment",
    "captured_share",
    "chi2_information",
    "compare_gradient_variance",
    "dimension_std",
    "effective_rank",
    "embedding_std",
    "exchanged_bytes",
    "gradient_statistics",
    "gradient_variance",
    "hessian_density",
    "hessian_eigenvalues",
    "network_bytes",
    "order",
    "rank_me",
    "ring_bytes",
    "spectrum",
    "uniformity",
]
