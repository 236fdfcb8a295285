"""Array functions for tensors of Keras's backend, and of TensorFlow.

Views are made in two places: in `tf.data`, whose tensors are TensorFlow's
whatever the backend, and in the train step of the backend. The formulas of
both are written once, with the functions that `namespace` returns.
"""

import functools
import types

from keras import ops


def namespace(tensor):
    """The functions for a tensor or an array, by their names in `keras.ops`."""
    if type(tensor).__module__.partition(".")[0] == "tensorflow":
        return _tensorflow()
    return ops


def per_image(values):
    """Give one value per image the rank of images, (B,) to (B, 1, 1, 1)."""
    return values[:, None, None, None]


def blend(first, second, weight):
    """Return (1 - weight) first + weight second, in float32."""
    xp = namespace(second)
    first, second = xp.cast(first, "float32"), xp.cast(second, "float32")
    return first * (1.0 - weight) + second * weight


def select(images, other, apply):
    """Take from `other` the images (B, H, W, C) whose `apply` (B,) is true."""
    xp = namespace(other)
    return xp.where(per_image(apply), other, xp.cast(images, "float32"))


@functools.cache
def _tensorflow():
    import tensorflow as tf

    def take_along_axis(x, indices, axis):
        return tf.gather(x, indices, axis=axis, batch_dims=axis)

    return types.SimpleNamespace(
        any=tf.reduce_any,
        arange=tf.range,
        argmax=tf.argmax,
        cast=tf.cast,
        clip=tf.clip_by_value,
        concatenate=tf.concat,
        einsum=tf.einsum,
        exp=tf.exp,
        floor=tf.floor,
        logical_and=tf.logical_and,
        logical_or=tf.logical_or,
        maximum=tf.maximum,
        mean=tf.reduce_mean,
        minimum=tf.minimum,
        reshape=tf.reshape,
        round=tf.round,
        sqrt=tf.sqrt,
        square=tf.square,
        stack=tf.stack,
        sum=tf.reduce_sum,
        take_along_axis=take_along_axis,
        unstack=tf.unstack,
        where=tf.where,
        zeros_like=tf.zeros_like,
    )
