"""Ground truth and measurements of learnt representations."""

from minc_tf.diagnostics.collapse import effective_rank, embedding_std
from minc_tf.diagnostics.graph import AugmentationGraph

__all__ = ["AugmentationGraph", "effective_rank", "embedding_std"]
