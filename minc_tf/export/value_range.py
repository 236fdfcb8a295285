"""The range of pixel values that an export's float images have.

Encoders of this library take 0..255. An export can be made for callers whose
images have another range; byte and uint8 images stay what they are.
"""

import math
import numbers

#: Of images as the encoder takes them, and of uint8 images.
PIXELS = (0, 255)


def check_value_range(value_range) -> tuple[float, float]:
    """Return the values of black and of white as a tuple of two numbers."""
    pair = isinstance(value_range, (tuple, list)) and len(value_range) == 2
    if not pair or not all(
        isinstance(x, numbers.Real) and not isinstance(x, bool)
        for x in value_range
    ):
        raise TypeError(
            "value_range must be two numbers, such as (0, 1); received "
            f"{value_range!r}"
        )
    try:
        low, high = (float(x) for x in value_range)
    except OverflowError:
        low, high = -math.inf, math.inf
    # Far from the limits of float32, in which the graph computes.
    if not 1e-30 < high - low < 1e30:
        raise ValueError(
            "value_range must be two finite numbers, of which the second is "
            f"larger; received {value_range!r}"
        )
    low, high = (int(x) if x.is_integer() else x for x in (low, high))
    return low, high


def to_pixels(images, value_range: tuple[float, float]):
    """Bring images of a range to 0..255."""
    low, high = value_range
    if (low, high) == PIXELS:
        return images
    if low:
        images = images - low
    return images * (255 / (high - low))


def from_pixels(images, value_range: tuple[float, float]):
    """Bring images of 0..255 to a range: the reverse of `to_pixels`."""
    low, high = value_range
    if (low, high) == PIXELS:
        return images
    return images * ((high - low) / 255) + low
