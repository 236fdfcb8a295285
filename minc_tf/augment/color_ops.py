"""Colour operations for given parameters: pure functions of any backend.

Images are (B, H, W, 3) with values 0..255, parameters one per image, (B,).
The operations are torchvision's (Pillow's without rounding to integers);
`jitter_stage` is that of `tf.image` and of the official SimCLR and BYOL code.
The pixels are the same in eager mode, in a graph and compiled by XLA.
"""

import numpy as np

from minc_tf.augment.arrays import blend, namespace, per_image

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def grayscale(images):
    """Luma of the images, (B, H, W, 1), with the weights of ITU-R 601."""
    xp = namespace(images)
    red, green, blue = xp.unstack(images, axis=-1)
    luma = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
    return luma[..., None]


def random_grayscale(images, apply):
    """Make the images whose `apply` is true grey, with three channels."""
    xp = namespace(images)
    images = xp.cast(images, "float32")
    return xp.where(per_image(apply), grayscale(images), images)


def adjust_brightness(images, factor):
    """Multiply the pixels by `factor`, and clip to 0..255."""
    return _clip(images * per_image(factor))


def adjust_contrast(images, factor):
    """Blend each image with its mean luma (factor 0), and clip to 0..255."""
    return _clip(blend(_mean_luma(images), images, per_image(factor)))


def adjust_saturation(images, factor):
    """Blend each pixel with its own luma (factor 0), and clip to 0..255."""
    return _clip(blend(grayscale(images), images, per_image(factor)))


def adjust_hue(images, turn, saturation=None):
    """Turn the hue in HSV space, and multiply the saturation; value stays.

    `turn` is in turns of the colour circle. No round trip through HSV: each
    channel becomes the largest one less a share of the chroma.
    """
    xp = namespace(images)
    red, green, blue = xp.unstack(images, axis=-1)
    largest = xp.maximum(xp.maximum(red, green), blue)
    smallest = xp.minimum(xp.minimum(red, green), blue)
    chroma = largest - smallest
    # Ordered comparisons: XLA may compute `largest == red` from differently
    # rounded copies of one number.
    red_largest = xp.logical_and(red >= green, red >= blue)
    green_largest = green >= blue
    difference = xp.where(
        red_largest,
        green - blue,
        xp.where(green_largest, blue - red, red - green),
    )
    sector = xp.where(red_largest, 0.0, xp.where(green_largest, 2.0, 4.0))
    hue = sector + difference / xp.maximum(chroma, 1e-12)
    hue = hue + 6.0 * turn[:, None, None]
    position = hue[..., None] + np.array([5.0, 3.0, 1.0], np.float32)
    position = position - 6.0 * xp.floor(position * (1.0 / 6.0))
    share = xp.minimum(position, 4.0 - position)
    share = xp.clip(share, 0.0, 1.0)
    if saturation is not None:
        chroma = xp.minimum(chroma * saturation[:, None, None], largest)
    return largest[..., None] - chroma[..., None] * share


def jitter_in_order(images, factors, order):
    """Adjust brightness, contrast and saturation in each image's own order.

    `factors` and `order`, a permutation of 0, 1, 2 in each row, are (B, 3).
    Clips to 0..255 after each of the three, as torchvision does.
    """
    xp = namespace(images)
    images = xp.cast(images, "float32")
    for stage in range(3):
        # All three are blends with a base image: black, mean luma, own luma.
        step = order[:, stage]
        factor = _choose(step, factors)
        base = xp.where(
            per_image(step == 1),
            _mean_luma(images),
            xp.where(per_image(step == 2), grayscale(images), 0.0),
        )
        images = _clip(blend(base, images, per_image(factor)))
    return images


def stage(factors, order, turn, apply, index: int) -> tuple:
    """Kind and value (B,) of stage `index`, 0 to 3, for `jitter_stage`.

    `factors` is (B, 3), `order` (B, 4) a permutation of 0..3 in each row.
    """
    xp = namespace(factors)
    kind = order[:, index]
    values = xp.concatenate([factors, turn[:, None]], axis=1)
    return xp.where(apply, kind, -1), _choose(kind, values)


def jitter_stage(images, kind, value, additive: bool):
    """Change one property of each image, and clip to 0..255.

    `kind` 0 is the brightness, 1 the contrast (about the mean of each channel),
    2 and 3 saturation and hue (of HSV), another nothing; `value` is the factor,
    the turn of the hue, or with `additive` the grey levels to add.
    """
    xp = namespace(images)
    images = xp.cast(images, "float32")
    which, amount = per_image(kind), per_image(value)
    bright = images + amount if additive else images * amount
    mean = xp.mean(images, axis=[1, 2], keepdims=True)
    turn = xp.where(kind == 3, value, 0.0)
    hsv = adjust_hue(images, turn, xp.where(kind == 2, value, 1.0))
    result = xp.where(which == 0, bright, images)
    result = xp.where(which == 1, blend(mean, images, amount), result)
    result = xp.where(xp.logical_or(which == 2, which == 3), hsv, result)
    return _clip(result)


def select_hue(images, jittered, turn, apply):
    """Turn the hue of `jittered`, and keep `images` where `apply` is false."""
    xp = namespace(images)
    images = xp.cast(images, "float32")
    return xp.where(per_image(apply), adjust_hue(jittered, turn), images)


def solarize(images, apply, threshold):
    """Invert the values at or above `threshold` where `apply` is true.

    The threshold, in 0..255, is a number or of shape (B, 1, 1, 1).
    """
    xp = namespace(images)
    images = xp.cast(images, "float32")
    invert = xp.logical_and(per_image(apply), images >= threshold)
    return xp.where(invert, 255.0 - images, images)


def _choose(column, values):
    """Take from each row (B, n) of values that in its column (B,)."""
    xp = namespace(values)
    column = xp.cast(column[:, None], "int32")
    return xp.take_along_axis(values, column, axis=1)[:, 0]


def _clip(images):
    return namespace(images).clip(images, 0.0, 255.0)


def _mean_luma(images):
    """Mean luma of each image, shape (B, 1, 1, 1)."""
    # Luma before mean: twice as fast in XLA as the mean of three channels.
    luma = grayscale(images)
    return namespace(images).mean(luma, axis=[1, 2], keepdims=True)
