"""Views: augmentation layers for keras-cv, and the pairs of the papers.

Importing this package imports keras-cv. The layers run in TensorFlow, eager,
in `tf.data` and in `tf.function`.
"""

from minc_tf.augment import presets
from minc_tf.augment.base import AugmentationLayer
from minc_tf.augment.blur import RandomGaussianBlur
from minc_tf.augment.color import (
    ColorJitter,
    RandomGrayscale,
    RandomSolarize,
)
from minc_tf.augment.geometry import RandomFlip, RandomResizedCrop
from minc_tf.augment.view_config import ViewConfig, view_layers
from minc_tf.augment.views import MultiView

__all__ = [
    "AugmentationLayer",
    "ColorJitter",
    "MultiView",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomResizedCrop",
    "RandomSolarize",
    "ViewConfig",
    "presets",
    "view_layers",
]
