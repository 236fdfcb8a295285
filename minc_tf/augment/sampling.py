"""From uniform numbers to the parameters of the image operations.

Pure TensorFlow functions, one row per image. They are small, and layers run
them outside XLA, where they are faster.
"""

import math

import tensorflow as tf

_TRIES = 10
CROP_DRAWS = 2 * _TRIES + 2


def crop_boxes(
    numbers: tf.Tensor,
    height: tf.Tensor,
    width: tf.Tensor,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> tf.Tensor:
    """Draw crop boxes as torchvision's `RandomResizedCrop` does.

    Ten tries of an area, uniform, and an aspect ratio, log-uniform; the first
    box that fits into the image is placed uniformly. If none fits, the box is
    the largest central one whose aspect ratio is allowed.

    Args:
        numbers: float32 tensor of shape (B, CROP_DRAWS), uniform in [0, 1).
        height: Height of the images in pixels, a scalar or shape (B,).
        width: Width of the images in pixels, a scalar or shape (B,).
        area: Smallest and largest area, as shares of the image's.
        aspect: Smallest and largest width / height of the box.

    Returns:
        float32 tensor of shape (B, 4): top, left, height, width in whole
        pixels.
    """
    # In float32 the last digit of `exp` depends on the place in the batch and
    # on XLA, and would now and then round a box to another whole pixel.
    numbers = tf.cast(numbers, tf.float64)
    height = tf.reshape(tf.cast(height, tf.float64), [-1, 1])
    width = tf.reshape(tf.cast(width, tf.float64), [-1, 1])
    areas = height * width * scale(numbers[:, :_TRIES], *area)
    log_aspect = [math.log(a) for a in aspect]
    ratios = tf.exp(scale(numbers[:, _TRIES : 2 * _TRIES], *log_aspect))
    widths = tf.round(tf.sqrt(areas * ratios))
    heights = tf.round(tf.sqrt(areas / ratios))
    fits = (widths > 0) & (widths <= width) & (heights > 0)
    fits &= heights <= height
    first = tf.argmax(tf.cast(fits, tf.int32), axis=1)
    box_width = tf.gather(widths, first, batch_dims=1)
    box_height = tf.gather(heights, first, batch_dims=1)

    height, width = height[:, 0], width[:, 0]
    free_height = height - box_height
    free_width = width - box_width
    top = tf.floor(numbers[:, 2 * _TRIES] * (free_height + 1.0))
    left = tf.floor(numbers[:, 2 * _TRIES + 1] * (free_width + 1.0))

    central_width = tf.minimum(width, tf.round(height * aspect[1]))
    central_height = tf.minimum(height, tf.round(width / aspect[0]))
    central = tf.stack(
        [
            tf.floor((height - central_height) / 2.0),
            tf.floor((width - central_width) / 2.0),
            central_height,
            central_width,
        ],
        axis=1,
    )
    box = tf.stack([top, left, box_height, box_width], axis=1)
    box = tf.where(tf.reduce_any(fits, axis=1)[:, None], box, central)
    return tf.cast(box, tf.float32)


def whole_image_boxes(
    batch: tf.Tensor, height: tf.Tensor, width: tf.Tensor
) -> tf.Tensor:
    """Return boxes that keep the whole image, in the form of `crop_boxes`.

    Args:
        batch: Number of images.
        height: Their height in pixels, a scalar.
        width: Their width in pixels, a scalar.

    Returns:
        float32 tensor of shape (B, 4): 0, 0, height, width.
    """
    box = tf.cast(tf.stack([0, 0, height, width]), tf.float32)
    return tf.tile(box[None, :], [batch, 1])


def permutations(numbers: tf.Tensor) -> tf.Tensor:
    """Uniform random permutations.

    Args:
        numbers: float32 tensor of shape (B, n), uniform in [0, 1).

    Returns:
        int32 tensor of shape (B, n), a permutation of 0..n-1 in each row.
    """
    return tf.argsort(numbers, axis=1, stable=True)


def scale(numbers: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Uniform numbers in [low, high) from numbers in [0, 1).

    Args:
        numbers: float32 tensor of any shape.
        low: Lower end.
        high: Upper end.

    Returns:
        float32 tensor of the shape of `numbers`.
    """
    return low + (high - low) * numbers
