"""Views: the distributions of the papers, and what makes views from them.

`TwoViews` makes them in the train step of any backend. `MultiView` and the
single layers make them in the input pipeline: they are layers for keras-cv and
run in TensorFlow, eager, in `tf.data` and in `tf.function`. These are imported,
and with them TensorFlow and keras-cv, when one is first used, which is also
before a saved one can be loaded.
"""

from typing import TYPE_CHECKING

from minc_tf._imports import register_classes
from minc_tf._lazy import lazy_names
from minc_tf.augment import presets
from minc_tf.augment.two_views import TwoViews
from minc_tf.augment.view_config import ViewConfig

if TYPE_CHECKING:
    from minc_tf.augment.base import AugmentationLayer as AugmentationLayer
    from minc_tf.augment.blur import RandomGaussianBlur as RandomGaussianBlur
    from minc_tf.augment.color import ColorJitter as ColorJitter
    from minc_tf.augment.color import RandomGrayscale as RandomGrayscale
    from minc_tf.augment.color import RandomSolarize as RandomSolarize
    from minc_tf.augment.geometry import RandomFlip as RandomFlip
    from minc_tf.augment.geometry import RandomResizedCrop as RandomResizedCrop
    from minc_tf.augment.layers import view_layers as view_layers
    from minc_tf.augment.views import MultiView as MultiView

_LAZY = {
    "AugmentationLayer": "base",
    "ColorJitter": "color",
    "MultiView": "views",
    "RandomFlip": "geometry",
    "RandomGaussianBlur": "blur",
    "RandomGrayscale": "color",
    "RandomResizedCrop": "geometry",
    "RandomSolarize": "color",
    "view_layers": "layers",
}

__all__ = ["TwoViews", "ViewConfig", "presets", *_LAZY]

__getattr__ = lazy_names(
    __name__,
    _LAZY,
    needs="TensorFlow and keras-cv",
    instead=" Without them minc_tf.augment.TwoViews makes the views.",
)


def __dir__():
    return sorted(__all__)


register_classes()
