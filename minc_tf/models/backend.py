"""What depends on how Keras is set: its backend, devices, order of axes."""

import contextlib
import importlib
import types

import keras
import numpy as np

_STEPS = {"tensorflow": "tensorflow_step", "jax": "jax_step"}


def step_module() -> types.ModuleType:
    """The module of the train and test step of the backend in use."""
    name = keras.backend.backend()
    if name not in _STEPS:
        raise ImportError(
            "minc_tf runs on Keras's TensorFlow or JAX backend; the backend "
            f"is {name!r}. Set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax "
            "before keras is imported."
        )
    return importlib.import_module(f"minc_tf.models.{_STEPS[name]}")


def value_now(variable) -> int | None:
    """The value of an integer variable, or None while a step is traced."""
    if keras.backend.backend() == "jax":
        import jax

        value = variable.value
        return None if isinstance(value, jax.core.Tracer) else int(value)
    import tensorflow as tf

    from minc_tf.objectives import replicas

    if not tf.executing_eagerly() or replicas.count() > 1:
        return None
    return int(keras.ops.convert_to_numpy(variable))


def shares() -> int:
    """Devices of `keras.distribution` (JAX) that share a batch, or 1."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.num_model_replicas


def to_devices(batch: np.ndarray):
    """Starts to send a batch (B, ...) to the devices that share it, on JAX."""
    import jax

    distribution = keras.distribution.distribution()
    if distribution is None:
        return jax.device_put(batch)
    layout = distribution.get_data_layout(batch.shape)
    return keras.distribution.distribute_tensor(batch, layout)


@contextlib.contextmanager
def channels_last():
    """A scope in which layers are made for channels that come last.

    Layers keep it: networks can be trained, saved and loaded outside.
    """
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)
