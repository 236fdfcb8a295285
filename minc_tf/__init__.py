"""Image representations from unlabelled images, on TensorFlow or JAX.

Every name is imported when it is first used. As soon as Keras is imported, so
are `objectives`, `models`, `augment` (without its layers for `tf.data`) and
`optimizers`: saved models find their classes. Without TensorFlow there are, on
JAX, those four, of `augment` `TwoViews`, `diagnostics`, `training` from arrays,
`report` but for TensorBoard, and of `evaluation` kNN and what watches a run.
"""

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from minc_tf import _imports

if TYPE_CHECKING:
    from minc_tf import augment as augment
    from minc_tf import data as data
    from minc_tf import diagnostics as diagnostics
    from minc_tf import evaluation as evaluation
    from minc_tf import export as export
    from minc_tf import models as models
    from minc_tf import objectives as objectives
    from minc_tf import optimizers as optimizers
    from minc_tf import report as report
    from minc_tf import search as search
    from minc_tf import training as training
    from minc_tf.models import MINCModel as MINCModel
    from minc_tf.models import TwoViewModel as TwoViewModel
    from minc_tf.models import build as build
    from minc_tf.models import methods as methods

__version__ = "0.2.0"

__all__ = [
    "MINCModel",
    "TwoViewModel",
    "augment",
    "build",
    "data",
    "diagnostics",
    "evaluation",
    "export",
    "methods",
    "models",
    "objectives",
    "optimizers",
    "report",
    "search",
    "training",
]

_OF_MODELS = ("MINCModel", "TwoViewModel", "build", "methods")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'minc_tf' has no attribute {name!r}")
    if name == "export":
        _check_exports()
    with _imports.naming_backend():
        _imports.register_classes()
        if name in _OF_MODELS:
            return getattr(importlib.import_module("minc_tf.models"), name)
        return importlib.import_module(f"minc_tf.{name}")


def _check_exports():
    """Refuse `minc_tf.export` where there is no TensorFlow, or on JAX."""
    if not importlib.util.find_spec("tensorflow"):
        raise ImportError(
            "minc_tf.export needs TensorFlow, which is not installed: pip "
            "install minc_tf."
        )
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ImportError(
            "minc_tf.export needs Keras's TensorFlow backend; the backend is "
            f"{keras.backend.backend()!r}. Save the model, and load it where "
            "KERAS_BACKEND=tensorflow."
        )


def __dir__():
    return sorted([*__all__, "__version__"])


if "keras" in sys.modules:
    with _imports.naming_backend():
        _imports.register_classes()
else:
    _imports.around_import("keras", _imports.registering)
