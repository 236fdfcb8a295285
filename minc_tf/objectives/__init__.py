"""What is minimised: Keras layers from two embeddings to a scalar loss."""

from minc_tf.objectives.base import Objective
from minc_tf.objectives.minc import MINC
from minc_tf.objectives.spectral import SpectralContrastive

__all__ = ["MINC", "Objective", "SpectralContrastive"]
