"""Ground truth and measurements of learnt representations."""

from minc_tf.diagnostics.graph import AugmentationGraph

__all__ = ["AugmentationGraph"]
