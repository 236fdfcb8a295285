"""The range of the pixels that come in, and images that contradict it."""

import keras
import numpy as np
from keras import ops

#: What every encoder and view of this library is given.
PIXELS = (0.0, 255.0)
#: What can be wrong with a batch, as bits of one number; see `look`.
OUTSIDE, NARROW, NOT_FINITE = 1, 2, 4
#: Resizing can overshoot, by this part of the range.
SLACK = 0.05


def check_value_range(caller: str, value, optional: bool = False):
    """Returns `(low, high)` as floats, or None if that is an option."""
    if value is None and optional:
        return None
    valid = (
        isinstance(value, tuple | list)
        and len(value) == 2
        and all(
            isinstance(v, int | float) and not isinstance(v, bool)
            for v in value
        )
        and -np.inf < value[0] < value[1] < np.inf
    )
    if not valid:
        raise ValueError(
            f"{caller}: value_range must be (low, high), the range of the "
            f"pixels such as (0, 255) or (0, 1); received {value!r}."
        )
    return float(value[0]), float(value[1])


def as_pixels(images, value_range):
    """Float images of a range as float32 of 0 to 255; all others unchanged."""
    dtype = keras.backend.standardize_dtype(images.dtype)
    if value_range in (None, PIXELS) or not keras.backend.is_float_dtype(dtype):
        return images
    low, high = value_range
    return (ops.cast(images, "float32") - low) * (255.0 / (high - low))


def look(images, value_range):
    """What contradicts the range in images (B, H, W, C), as a sum of bits.

    `OUTSIDE` of the range, `NARROW` (all in 0 to 1, with fractions, where 0 to
    255 is expected), and `NOT_FINITE`, which alone is told where there is no
    range. Bytes, and what is not a batch of images, are taken as they are.
    """
    if len(images.shape) != 4 or not keras.backend.is_float_dtype(
        keras.backend.standardize_dtype(images.dtype)
    ):
        return ops.zeros(())
    images = ops.cast(images, "float32")
    lowest, highest = ops.min(images), ops.max(images)
    # A minimum need not be NaN where a pixel is.
    found = NOT_FINITE * _as_number(~ops.all(ops.isfinite(images)))
    if value_range is None:
        return found
    low, high = value_range
    slack = SLACK * (high - low)
    outside = (lowest < low - slack) | (highest > high + slack)
    found += OUTSIDE * _as_number(outside)
    if high > 2.0:  # or else 0 to 1 is no small part of it
        fractions = ops.any(images != ops.floor(images))
        narrow = (lowest >= 0.0) & (highest <= 1.0) & fractions
        found += NARROW * _as_number(narrow)
    return found


def _as_number(condition):
    return ops.cast(condition, "float32")


def contradiction(found, value_range) -> str | None:
    """Says how images contradict the range, by what `look` found, or None."""
    found = int(found)
    if found & NOT_FINITE or value_range is None:
        return None
    low, high = value_range
    expected = f"value_range=({low:g}, {high:g})"
    if found & NARROW:
        return (
            f"all pixels are in 0 to 1, against {expected}: multiply them by "
            "255, or pass value_range=(0, 1)"
        )
    if found & OUTSIDE:
        return f"there are pixels outside of {expected}"
    return None


def check_array(caller: str, images, value_range, count: int = 64) -> None:
    """Refuses an array (B, H, W, C) whose first images contradict the range."""
    if not isinstance(images, np.ndarray) or not len(images):
        return
    with np.errstate(invalid="ignore"):
        wrong = contradiction(look(images[:count], value_range), value_range)
    if wrong:
        raise ValueError(f"{caller}: {wrong}.")
