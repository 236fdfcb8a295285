"""Views: the distributions of the papers, and what makes views from them.

`TwoViews` makes them in the train step of any backend. `MultiView` and the
single layers make them in the input pipeline: they are layers for keras-cv and
run in TensorFlow, eager, in `tf.data` and in `tf.function`. These are imported,
and with them TensorFlow and keras-cv, when one is first used, which is also
before a saved one can be loaded.
"""

import importlib

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


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(
            f"module 'minc_tf.augment' has no attribute {name!r}"
        )
    try:
        module = importlib.import_module(f"minc_tf.augment.{_LAZY[name]}")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"minc_tf.augment.{name} needs TensorFlow and keras-cv, and "
            f"{error.name} is not installed: pip install minc_tf. Without "
            "them minc_tf.augment.TwoViews makes the views."
        ) from error
    return getattr(module, name)


def __dir__():
    return sorted(__all__)
