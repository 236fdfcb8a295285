"""Crop, flip and blur for given parameters: pure TensorFlow functions.

Images are (B, H, W, 3) with values 0..255; parameters are one per image, shape
(B,). Each function runs in eager mode, in a graph and compiled by XLA, and
gives the same pixels in all three. Colours are in `color_ops`.
"""

import numpy as np
import tensorflow as tf

from minc_tf.augment.arrays import blend, per_image
from minc_tf.augment.matrix_ops import (
    crop_weights,
    gaussian_weights,
    resample,
)


def crop_and_resize(
    images: tf.Tensor,
    boxes: tf.Tensor,
    size: tuple[int, int],
    antialias: bool = False,
    bicubic: bool = False,
) -> tf.Tensor:
    """Cut a box (top, left, height, width in pixels) per image, and resize it.

    No pixel from outside the box is read: the result is that of cropping first.
    `antialias` is Pillow's, `bicubic` that of `tf.image.resize`, clipped.
    """
    top, left, height, width = tf.unstack(boxes, axis=1)
    if antialias:
        pixels = tf.shape(images)
        rows = crop_weights(top, height, size[0], pixels[1], antialias=True)
        columns = crop_weights(left, width, size[1], pixels[2], antialias=True)
        return resample(tf.cast(images, tf.float32), rows, columns)
    if bicubic:
        images = _cubic(images, top, height, size[0], axis=1)
        images = _cubic(images, left, width, size[1], axis=2)
        return tf.clip_by_value(images, 0.0, 255.0)
    low, high, weight = _neighbours(top, height, size[0])
    weight = weight[:, :, None, None]
    images = blend(
        tf.gather(images, low, batch_dims=1),
        tf.gather(images, high, batch_dims=1),
        weight,
    )
    low, high, weight = _neighbours(left, width, size[1])
    weight = weight[:, None, :, None]
    return blend(
        tf.gather(images, low, axis=2, batch_dims=1),
        tf.gather(images, high, axis=2, batch_dims=1),
        weight,
    )


def flip_horizontal(images: tf.Tensor, flip: tf.Tensor) -> tf.Tensor:
    """Mirror the images whose `flip` (B,) is true, left to right."""
    images = tf.cast(images, tf.float32)
    return tf.where(per_image(flip), images[:, :, ::-1], images)


def gaussian_blur(
    images: tf.Tensor,
    sigma: tf.Tensor,
    kernel_size: int,
    axis: int,
    mirror: bool = True,
) -> tf.Tensor:
    """Blur along one axis (1 height, 2 width), each image with its own sigma.

    The mirror does not repeat the border pixel (`reflect` in torchvision and
    NumPy, `mirror` in SciPy); without it borders are black, and darker.
    """
    images = tf.cast(images, tf.float32)
    radius = kernel_size // 2
    padding = [[0, 0]] * 4
    padding[axis] = [radius, radius]
    padded = tf.pad(images, padding, "REFLECT" if mirror else "CONSTANT")
    # Columns and channels in one axis: long contiguous rows vectorise.
    shape = tf.shape(padded)
    padded = tf.reshape(padded, [shape[0], shape[1], shape[2] * shape[3]])
    length = tf.shape(images)[axis]
    channels = images.shape[3]

    def shifted(offset):
        first = radius + offset
        if axis == 1:
            return padded[:, first : first + length]
        return padded[:, :, first * channels : (first + length) * channels]

    weights = gaussian_weights(sigma, kernel_size)[:, :, None, None]
    total = weights[:, 0] * shifted(0)
    for offset in range(1, radius + 1):
        pair = shifted(offset) + shifted(-offset)
        # `total + w x` would be an AddN after graph optimisation, which
        # needs a temporary variable that XLA rejects.
        total = total - (-weights[:, offset]) * pair
    return tf.reshape(total, tf.shape(images))


def _neighbours(start, length, count):
    """Two pixels around each sample, (B, count), and the second's weight."""
    start, length = start[:, None], length[:, None]
    # No division here: XLA would round it differently.
    centre = ((np.arange(count) + 0.5) / count).astype(np.float32)
    position = centre * length - 0.5
    position = tf.clip_by_value(position, 0.0, length - 1.0)
    low = tf.floor(position)
    high = tf.minimum(low + 1.0, length - 1.0)
    return (
        tf.cast(start + low, tf.int32),
        tf.cast(start + high, tf.int32),
        position - low,
    )


def _cubic(images, start, length, count, axis):
    """Interpolate one axis of the boxes; weights outside a box are 0."""
    start, length = start[:, None], length[:, None]
    centre = ((np.arange(count) + 0.5) / count).astype(np.float32)
    position = centre * length - 0.5
    first = tf.floor(position) - 1.0
    weights, pixels = [], []
    for tap in range(4):
        pixel = first + tap
        distance = tf.abs(position - pixel)
        inner = ((1.5 * distance - 2.5) * distance) * distance + 1.0
        outer = ((2.5 - 0.5 * distance) * distance - 4.0) * distance + 2.0
        weight = tf.where(distance < 1.0, inner, outer)
        inside = tf.logical_and(pixel >= 0.0, pixel < length)
        weights.append(tf.where(inside, weight, 0.0))
        pixel = tf.clip_by_value(pixel, 0.0, length - 1.0)
        pixels.append(tf.cast(start + pixel, tf.int32))
    norm = 1.0 / (weights[0] + weights[1] + (weights[2] + weights[3]))
    total = 0.0
    for weight, pixel in zip(weights, pixels, strict=True):
        row = tf.gather(images, pixel, axis=axis, batch_dims=1)
        weight = tf.expand_dims(weight * norm, 3 - axis)[..., None]
        # Not an AddN: see `gaussian_blur`.
        total = total - (-weight) * tf.cast(row, tf.float32)
    return total
