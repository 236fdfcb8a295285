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
    numbers, height, width = _doubles(numbers, height, width)
    areas = height * width * scale(numbers[:, :_TRIES], *area)
    ratios = _log_uniform(numbers[:, _TRIES : 2 * _TRIES], aspect)
    widths = tf.round(tf.sqrt(areas * ratios))
    heights = tf.round(tf.sqrt(areas / ratios))
    fits = (widths <= width) & (heights <= height)
    box, found = _first_fit(fits, heights, widths)
    places = numbers[:, 2 * _TRIES :]
    corner = tf.floor(places * (_pair(height, width) - box + 1.0))

    central_width = tf.minimum(width, tf.round(height * aspect[1]))
    central_height = tf.minimum(height, tf.round(width / aspect[0]))
    central = _pair(central_height, central_width)
    middle = tf.floor((_pair(height, width) - central) / 2.0)
    box = tf.where(
        found,
        tf.concat([corner, box], axis=1),
        tf.concat([middle, central], axis=1),
    )
    return tf.cast(box, tf.float32)


def clipped_boxes(
    numbers: tf.Tensor,
    height: tf.Tensor,
    width: tf.Tensor,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> tf.Tensor:
    """Draw crop boxes as BYOL's official code does.

    One try of an area, uniform, and an aspect ratio, log-uniform; a box
    higher or wider than the image is cut to it, and placed uniformly.
    Arguments and result are those of `crop_boxes`.
    """
    numbers, height, width = _doubles(numbers, height, width)
    areas = height * width * scale(numbers[:, :1], *area)
    ratios = _log_uniform(numbers[:, _TRIES : _TRIES + 1], aspect)
    box = _pair(tf.sqrt(areas / ratios), tf.sqrt(areas * ratios))
    size = _pair(height, width)
    box = tf.minimum(tf.maximum(tf.round(box), 1.0), size)
    corner = tf.floor(numbers[:, 2 * _TRIES :] * (size - box + 1.0))
    return tf.cast(tf.concat([corner, box], axis=1), tf.float32)


def distorted_boxes(
    numbers: tf.Tensor,
    height: tf.Tensor,
    width: tf.Tensor,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> tf.Tensor:
    """Draw crop boxes as `tf.image.sample_distorted_bounding_box` does.

    Ten tries of an aspect ratio, uniform, and of a height, uniform among
    those with which the box fits into the image and its area into the range;
    if none does, the box is the whole image. As in the original, a box never
    touches the last row or column of an image that is larger. Arguments and
    result are those of `crop_boxes`.
    """
    numbers, height, width = _doubles(numbers, height, width)
    smallest, largest = (height * width * share for share in area)
    ratios = scale(numbers[:, :_TRIES], *aspect)
    highest = tf.round(tf.sqrt(largest / ratios))
    # The highest box that is not wider than the image.
    limit = tf.floor((width + 0.5) / ratios)
    limit -= tf.cast(tf.round(limit * ratios) > width, tf.float64)
    highest = tf.minimum(tf.minimum(highest, limit), height)
    lowest = tf.minimum(tf.round(tf.sqrt(smallest / ratios)), highest)
    steps = numbers[:, _TRIES : 2 * _TRIES] * (highest - lowest + 1.0)
    heights = lowest + tf.floor(steps)
    # Rounding may have moved the area out of its range, by one row.
    too_small = heights * tf.round(heights * ratios) < smallest
    heights += tf.cast(too_small, tf.float64)
    too_large = heights * tf.round(heights * ratios) > largest
    heights -= tf.cast(too_large, tf.float64)
    widths = tf.round(heights * ratios)
    areas = heights * widths
    fits = (areas >= smallest) & (areas <= largest)
    fits &= (widths <= width) & (heights <= height)
    box, found = _first_fit(fits, heights, widths)
    size = _pair(height, width)
    box = tf.where(found, box, size)
    corner = tf.floor(numbers[:, 2 * _TRIES :] * (size - box))
    return tf.cast(tf.concat([corner, box], axis=1), tf.float32)


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


def _doubles(numbers, height, width):
    """The numbers and, as columns, the sizes of the images, in float64.

    In float32 the last digit of `exp` depends on the place in the batch and
    on XLA, and would now and then round a box to another whole pixel.
    """
    columns = (
        tf.reshape(tf.cast(size, tf.float64), [-1, 1])
        for size in (height, width)
    )
    return tf.cast(numbers, tf.float64), *columns


def _log_uniform(numbers, limits):
    low, high = (math.log(limit) for limit in limits)
    return tf.exp(scale(numbers, low, high))


def _first_fit(fits, heights, widths):
    """Find the first box that fits and is not empty, (B, 2), and if any is."""
    fits &= (heights > 0) & (widths > 0)
    first = tf.argmax(tf.cast(fits, tf.int32), axis=1)
    box = tf.gather(tf.stack([heights, widths], axis=2), first, batch_dims=1)
    return box, tf.reduce_any(fits, axis=1, keepdims=True)


def _pair(height, width):
    return tf.concat([height, width], axis=1)
