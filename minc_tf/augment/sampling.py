"""From uniform numbers to the parameters of the image operations.

Pure functions, one row per image, for tensors of TensorFlow or of Keras's
backend. They are small, and the layers of the input pipeline run them outside
XLA, where they are faster.
"""

import numpy as np

from minc_tf.augment.arrays import namespace

_TRIES = 10
CROP_DRAWS = 2 * _TRIES + 2


def crop_boxes(
    numbers, height, width, area: tuple, aspect: tuple, dtype: str = "float64"
):
    """Draw crop boxes as torchvision's `RandomResizedCrop` does.

    `numbers` are (B, CROP_DRAWS) or of V views (B, V, CROP_DRAWS), in [0, 1);
    the limits numbers or arrays (V, 1). Returns float32 (..., 4): top, left,
    height, width in whole pixels.
    """
    xp = namespace(numbers)
    # In float32 the last digit of `exp` depends on the place in the batch and
    # on XLA, and now and then rounds a box to another whole pixel.
    numbers, height, width = _columns(numbers, height, width, dtype)
    areas = height * width * scale(numbers[..., :_TRIES], *area)
    ratios = _log_uniform(numbers[..., _TRIES : 2 * _TRIES], aspect)
    widths = xp.round(xp.sqrt(areas * ratios))
    heights = xp.round(xp.sqrt(areas / ratios))
    fits = (widths <= width) & (heights <= height)
    box, found = _first_fit(fits, heights, widths)
    places = numbers[..., 2 * _TRIES :]
    corner = xp.floor(places * (_pair(height, width) - box + 1.0))

    central_width = xp.minimum(width, xp.round(height * aspect[1]))
    central_height = xp.minimum(height, xp.round(width / aspect[0]))
    central = _pair(central_height, central_width)
    middle = xp.floor((_pair(height, width) - central) / 2.0)
    box = xp.where(
        found,
        xp.concatenate([corner, box], axis=-1),
        xp.concatenate([middle, central], axis=-1),
    )
    return xp.cast(box, "float32")


def clipped_boxes(
    numbers, height, width, area: tuple, aspect: tuple, dtype: str = "float64"
):
    """Draw crop boxes as BYOL's official code does; see `crop_boxes`.

    One try; a box higher or wider than the image is cut to it.
    """
    xp = namespace(numbers)
    numbers, height, width = _columns(numbers, height, width, dtype)
    areas = height * width * scale(numbers[..., :1], *area)
    ratios = _log_uniform(numbers[..., _TRIES : _TRIES + 1], aspect)
    box = _pair(xp.sqrt(areas / ratios), xp.sqrt(areas * ratios))
    size = _pair(height, width)
    box = xp.minimum(xp.maximum(xp.round(box), 1.0), size)
    corner = xp.floor(numbers[..., 2 * _TRIES :] * (size - box + 1.0))
    return xp.cast(xp.concatenate([corner, box], axis=-1), "float32")


def distorted_boxes(
    numbers, height, width, area: tuple, aspect: tuple, dtype: str = "float64"
):
    """Draw as `tf.image.sample_distorted_bounding_box` does; see `crop_boxes`.

    Ten tries, else the whole image. As in the original, a box never touches the
    last row or column of an image that is larger.
    """
    xp = namespace(numbers)
    numbers, height, width = _columns(numbers, height, width, dtype)
    smallest, largest = (height * width * share for share in area)
    ratios = scale(numbers[..., :_TRIES], *aspect)
    highest = xp.round(xp.sqrt(largest / ratios))
    # The highest box that is not wider than the image.
    limit = xp.floor((width + 0.5) / ratios)
    limit -= xp.cast(xp.round(limit * ratios) > width, dtype)
    highest = xp.minimum(xp.minimum(highest, limit), height)
    lowest = xp.minimum(xp.round(xp.sqrt(smallest / ratios)), highest)
    steps = numbers[..., _TRIES : 2 * _TRIES] * (highest - lowest + 1.0)
    heights = lowest + xp.floor(steps)
    # Rounding may have moved the area out of its range, by one row.
    too_small = heights * xp.round(heights * ratios) < smallest
    heights += xp.cast(too_small, dtype)
    too_large = heights * xp.round(heights * ratios) > largest
    heights -= xp.cast(too_large, dtype)
    widths = xp.round(heights * ratios)
    areas = heights * widths
    fits = (areas >= smallest) & (areas <= largest)
    fits &= (widths <= width) & (heights <= height)
    box, found = _first_fit(fits, heights, widths)
    size = _pair(height, width)
    box = xp.where(found, box, size)
    corner = xp.floor(numbers[..., 2 * _TRIES :] * (size - box))
    return xp.cast(xp.concatenate([corner, box], axis=-1), "float32")


def jitter(numbers, brightness, contrast, saturation, hue, semantics: str):
    """Draw the factors (..., 3), order and turn (...) of `color_ops`.

    `numbers` are (B, 8) or of V views (B, V, 8), in [0, 1); the largest changes
    numbers or arrays (V,). "tf_byol" adds grey levels: the first factor.
    `order` is (..., 3), or (..., 4) where hue has no fixed place.
    """
    factors = [
        scale(numbers[..., i], np.maximum(0.0, 1.0 - change), 1.0 + change)
        for i, change in enumerate((brightness, contrast, saturation))
    ]
    if semantics == "tf_byol":
        levels = 255.0 * brightness
        factors[0] = scale(numbers[..., 0], -levels, levels)
    turn = scale(numbers[..., 3], -hue, hue)
    steps = 3 if semantics == "torchvision" else 4
    order = permutations(numbers[..., 4 : 4 + steps])
    return namespace(numbers).stack(factors, axis=-1), order, turn


def permutations(numbers):
    """A uniform random permutation of 0..n-1 for each row of numbers (..., n).

    In float32: on a GPU TensorFlow would fetch int32 to the host to compare it.
    """
    xp = namespace(numbers)
    place = np.arange(numbers.shape[-1], dtype=np.float32)
    one, other = numbers[..., :, None], numbers[..., None, :]
    tie = xp.logical_and(one == other, place[None, :] < place[:, None])
    smaller = xp.cast(xp.logical_or(other < one, tie), "float32")
    rank = xp.sum(smaller, axis=-1)
    found = xp.cast(rank[..., None, :] == place[:, None], "float32")
    return xp.sum(found * place, axis=-1)


def scale(numbers, low, high):
    """Uniform numbers in [low, high) from numbers in [0, 1)."""
    return low + (high - low) * numbers


def _columns(numbers, height, width, dtype):
    """The numbers and, as columns, the sizes of the images, of one dtype."""
    xp = namespace(numbers)
    columns = (
        xp.reshape(xp.cast(size, dtype), [-1, 1]) for size in (height, width)
    )
    return xp.cast(numbers, dtype), *columns


def _log_uniform(numbers, limits):
    low, high = (np.log(limit) for limit in limits)
    return namespace(numbers).exp(scale(numbers, low, high))


def _first_fit(fits, heights, widths):
    """Find the first box that fits and is not empty, (B, 2), and if any is."""
    xp = namespace(heights)
    fits &= (heights > 0) & (widths > 0)
    first = xp.argmax(xp.cast(fits, "float32"), axis=-1)[..., None]
    box = [xp.take_along_axis(x, first, axis=-1) for x in (heights, widths)]
    return _pair(*box), xp.any(fits, axis=-1, keepdims=True)


def _pair(height, width):
    return namespace(height).concatenate([height, width], axis=-1)
