"""Image representations from unlabelled images, on TensorFlow and Keras 3.

`objectives`, `models` and `optimizers` are imported at once, so that saved
models find their classes; the sub-packages that pull in keras-cv, TensorFlow
Datasets or SciPy are imported when they are first used.
"""

import importlib

from minc_tf import models, objectives, optimizers
from minc_tf.models import MINCModel, TwoViewModel, build, methods

_LAZY = (
    "augment",
    "data",
    "diagnostics",
    "evaluation",
    "export",
    "report",
    "training",
)

__all__ = [
    "MINCModel",
    "TwoViewModel",
    "build",
    "methods",
    "models",
    "objectives",
    "optimizers",
    *_LAZY,
]


def __getattr__(name):
    if name in _LAZY:
        return importlib.import_module(f"minc_tf.{name}")
    raise AttributeError(f"module 'minc_tf' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
