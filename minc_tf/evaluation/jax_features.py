"""The compiled inference of a live encoder, on JAX."""

from collections.abc import Callable

import jax
import keras
import numpy as np

from minc_tf._checks import check_image_shape
from minc_tf.models.backend import shares, to_devices

#: Images that are embedded at once.
_PART = 256


def compile_inference(model: keras.Model, expected) -> Callable:
    """As `encoder_function` says; `expected` is (H, W, C), None if unknown."""

    @jax.jit
    def infer(trainable, held, images):
        images = keras.ops.cast(images, "float32")
        vectors, _ = model.stateless_call(
            trainable, held, images, training=False
        )
        return keras.ops.cast(vectors, "float32")

    def encode(images):
        images = np.asarray(images)
        if expected is not None:
            check_image_shape(images.shape[1:], expected)
        state = [
            [variable.value for variable in variables]
            for variables in (
                model.trainable_variables,
                model.non_trainable_variables,
            )
        ]
        # Parts of one size, which the devices can share, compile once.
        size = -(-min(_PART, len(images)) // shares()) * shares()
        found = []
        for start in range(0, len(images), size):
            rows = np.arange(start, start + size)
            part = images.take(rows, axis=0, mode="clip")
            found.append(infer(*state, to_devices(part)))
        return np.concatenate(found)[: len(images)]

    return encode
