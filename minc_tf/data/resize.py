"""Images to the size of a model, as TensorFlow graph code."""

import tensorflow as tf


def resize_and_crop(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Scale images (h, w, 3) or (b, h, w, 3) to cover `size`; cut the centre.

    Linear, and antialiased where it shrinks. Pixels that the cut does not need
    are not looked at: a very long image takes no more memory than a square one.
    """
    image = tf.convert_to_tensor(image)
    shape = tf.shape(image)[-3:-1]
    batched = image.shape.rank == 4

    def change():
        patch = _centre(image if batched else image[tf.newaxis], shape, size)
        patch = tf.cast(tf.clip_by_value(tf.round(patch), 0, 255), tf.uint8)
        return patch if batched else patch[0]

    same = tf.reduce_all(shape == tf.constant(size))
    image = tf.cond(same, lambda: image, change)
    image.set_shape([*[None] * batched, *size, 3])
    return image


def _centre(images, shape, size):
    """The centre of scaled images, float32, from the pixels that it needs."""
    shape, wanted = tf.cast(shape, tf.float64), tf.constant(size, tf.float64)
    scaled = tf.round(tf.reduce_max(wanted / shape) * shape)
    scaled = tf.maximum(scaled, wanted)
    scale = scaled / shape
    start = (scaled - wanted) // 2
    # The kernel's half width, in pixels of the image, and one to be safe.
    margin = tf.maximum(1 / scale, 1) + 1
    first = tf.maximum(tf.floor(start / scale - margin), 0)
    last = tf.minimum(tf.math.ceil((start + wanted) / scale + margin), shape)
    top, left = tf.unstack(tf.cast(first, tf.int32))
    bottom, right = tf.unstack(tf.cast(last, tf.int32))
    return tf.raw_ops.ScaleAndTranslate(
        images=images[:, top:bottom, left:right],
        size=size,
        scale=tf.cast(scale, tf.float32),
        translation=tf.cast(first * scale - start, tf.float32),
        kernel_type="triangle",
        antialias=True,
    )
