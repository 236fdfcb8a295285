"""Views: the distributions of the papers, and what makes views from them.

`TwoViews` makes them in the train step of any backend. `MultiView` and the
single layers make them in the input pipeline: they are layers for keras-cv and
run in TensorFlow, eager, in `tf.data` and in `tf.function`. These are imported,
and with them TensorFlow and keras-cv, when one is first used, which is also
before a saved one can be loaded.
"""

from minc_tf._imports import register_classes
from minc_tf._lazy import lazy_names
from minc_tf.augment import presets
from minc_tf.augment.two_views import TwoViews
from minc_tf.augment.view_config import ViewConfig

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
