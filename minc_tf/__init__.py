"""Image representations from unlabelled images, on TensorFlow or JAX.

`objectives`, `models`, `augment` (without its layers for `tf.data`) and
`optimizers` are imported at once, so that saved models find their classes; the
sub-packages that pull in keras-cv, TensorFlow Datasets or SciPy are imported
when they are first used. Without TensorFlow there are, on JAX, those four, of
`augment` `TwoViews`, `diagnostics`, `training` from arrays, `report` but for
TensorBoard, and of `evaluation` kNN and what watches a run.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

try:
    import keras

    from minc_tf import augment, models, objectives, optimizers
except ModuleNotFoundError as error:
    if error.name not in ("tensorflow", "jax"):
        raise
    raise ImportError(
        f"minc_tf: keras is set to a backend that needs {error.name}, which is "
        "not installed. Install it, or set KERAS_BACKEND=tensorflow or "
        "KERAS_BACKEND=jax to the one that is, before keras is imported."
    ) from error
from minc_tf.models import MINCModel, TwoViewModel, build, methods

if TYPE_CHECKING:
    from minc_tf import data as data
    from minc_tf import diagnostics as diagnostics
    from minc_tf import evaluation as evaluation
    from minc_tf import export as export
    from minc_tf import report as report
    from minc_tf import training as training

_LAZY = ("diagnostics", "data", "evaluation", "training", "report", "export")

__all__ = [
    "MINCModel",
    "TwoViewModel",
    "augment",
    "build",
    "methods",
    "models",
    "objectives",
    "optimizers",
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'minc_tf' has no attribute {name!r}")
    if name == "export" and not importlib.util.find_spec("tensorflow"):
        raise ImportError(
            f"minc_tf.{name} needs TensorFlow, which is not installed: pip "
            "install minc_tf."
        )
    if name == "export" and keras.backend.backend() != "tensorflow":
        raise ImportError(
            f"minc_tf.{name} needs Keras's TensorFlow backend; the backend is "
            f"{keras.backend.backend()!r}. Save the model, and load it where "
            "KERAS_BACKEND=tensorflow."
        )
    return importlib.import_module(f"minc_tf.{name}")


def __dir__():
    return sorted(__all__)
