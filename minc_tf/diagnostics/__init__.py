"""Ground truth and measurements of learnt representations; what they cost."""

from minc_tf.diagnostics.collapse import effective_rank, embedding_std
from minc_tf.diagnostics.exchange import (
    exchanged_bytes,
    network_bytes,
    ring_bytes,
)
from minc_tf.diagnostics.graph import AugmentationGraph
from minc_tf.diagnostics.ordering import Ordering, order

__all__ = [
    "AugmentationGraph",
    "Ordering",
    "effective_rank",
    "embedding_std",
    "exchanged_bytes",
    "network_bytes",
    "order",
    "ring_bytes",
]
