"""The train step of the backend that Keras uses."""

import importlib
import types

import keras

_MODULES = {"tensorflow": "tensorflow_step", "jax": "jax_step"}


def step_module() -> types.ModuleType:
    """The module of the train and test step of the backend in use.

    Returns:
        `minc_tf.models.tensorflow_step` or `minc_tf.models.jax_step`.

    Raises:
        ImportError: for another backend.
    """
    name = keras.backend.backend()
    if name not in _MODULES:
        raise ImportError(
            "minc_tf runs on Keras's TensorFlow or JAX backend; the backend "
            f"is {name!r}. Set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax "
            "before keras is imported."
        )
    return importlib.import_module(f"minc_tf.models.{_MODULES[name]}")
