"""Ground truth and measurements of learnt representations; what they cost."""

from minc_tf.diagnostics.collapse import effective_rank, embedding_std
from minc_tf.diagnostics.curvature import hessian_density, hessian_eigenvalues
from minc_tf.diagnostics.exchange import (
    exchanged_bytes,
    network_bytes,
    ring_bytes,
)
from minc_tf.diagnostics.geometry import alignment, rank_me, uniformity
from minc_tf.diagnostics.graph import AugmentationGraph
from minc_tf.diagnostics.information import captured_share, chi2_information
from minc_tf.diagnostics.ordering import Ordering, order

__all__ = [
    "AugmentationGraph",
    "Ordering",
    "alignment",
    "captured_share",
    "chi2_information",
    "effective_rank",
    "embedding_std",
    "exchanged_bytes",
    "hessian_density",
    "hessian_eigenvalues",
    "network_bytes",
    "order",
    "rank_me",
    "ring_bytes",
    "uniformity",
]
