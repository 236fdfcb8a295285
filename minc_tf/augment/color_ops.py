"""Colour operations for given parameters: pure functions of any backend.

Images are (B, H, W, 3) with values 0..255; parameters are one per image, shape
(B,). The operations are those of torchvision (and of Pillow, without its
rounding to integers); `jitter_stage` is that of `tf.image` and of the official
SimCLR and BYOL code. Each function takes tensors of TensorFlow or of Keras's
backend, runs in eager mode, in a graph and compiled by XLA, and gives the same
pixels in all of them.
"""

import numpy as np

from minc_tf.augment.arrays import blend, namespace, per_image

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def grayscale(images):
    """Luma, 0.299 R + 0.587 G + 0.114 B (ITU-R 601).

    Args:
        images: float32 tensor of shape (B, H, W, 3).

    Returns:
        float32 tensor of shape (B, H, W, 1).
    """
    xp = namespace(images)
    red, green, blue = xp.unstack(images, axis=-1)
    luma = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
    return luma[..., None]


def random_grayscale(images, apply):
    """Make the images whose `apply` is true grey, with three channels.

    Args:
        images: Tensor of shape (B, H, W, 3).
        apply: Boolean tensor of shape (B,).

    Returns:
        float32 tensor of the shape of `images`.
    """
    xp = namespace(images)
    images = xp.cast(images, "float32")
    return xp.where(per_image(apply), grayscale(images), images)


def adjust_brightness(images, factor):
    """Multiply the pixels by `factor`, and clip to 0..255.

    Args:
        images: float32 tensor of shape (B, H, W, 3).
        factor: float32 tensor of shape (B,); 1 changes nothing.

    Returns:
        float32 tensor of the shape of `images`.
    """
    return _clip(images * per_image(factor))


def adjust_contrast(images, factor):
    """Blend each image with its mean luma, and clip to 0..255.

    Args:
        images: float32 tensor of shape (B, H, W, 3).
        factor: float32 tensor of shape (B,); 0 is flat grey, 1 changes
            nothing.

    Returns:
        float32 tensor of the shape of `images`.
    """
    return _clip(blend(_mean_luma(images), images, per_image(factor)))


def adjust_saturation(images, factor):
    """Blend each pixel with its own luma, and clip to 0..255.

    Args:
        images: float32 tensor of shape (B, H, W, 3).
        factor: float32 tensor of shape (B,); 0 is grey, 1 changes nothing.

    Returns:
        float32 tensor of the shape of `images`.
    """
    return _clip(blend(grayscale(images), images, per_image(factor)))


def adjust_hue(images, turn, saturation=None):
    """Turn the hue in HSV space, and multiply the saturation; value stays.

    The largest channel is kept, so the round trip through HSV is not needed:
    each new channel is the largest minus a share of the chroma, which depends
    on the hue alone.

    Args:
        images: float32 tensor of shape (B, H, W, 3).
        turn: float32 tensor of shape (B,), in whole turns of the colour
            circle; 0 changes nothing.
        saturation: float32 tensor of shape (B,), the factor of the HSV
            saturation, which is clipped to 1; `None` changes nothing.

    Returns:
        float32 tensor of the shape of `images`.
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

    Clips to 0..255 after each of the three, as torchvision does.

    Args:
        images: Tensor of shape (B, H, W, 3).
        factors: float32 tensor of shape (B, 3): the factors of brightness,
            contrast and saturation (see `adjust_brightness` and the others).
        order: Tensor of shape (B, 3), a permutation of 0, 1, 2 per image:
            which of the three comes first, second, third.

    Returns:
        float32 tensor of the shape of `images`.
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
    """One of the four stages of each image, for `jitter_stage`.

    Args:
        factors: float32 tensor of shape (B, 3), see `jitter_in_order`.
        order: Tensor of shape (B, 4), a permutation of 0..3 per image.
        turn: float32 tensor of shape (B,), the turn of the hue.
        apply: Boolean tensor of shape (B,): other images are not changed.
        index: Number of the stage, 0 to 3.

    Returns:
        (kind, value): tensors of shape (B,).
    """
    xp = namespace(factors)
    kind = order[:, index]
    values = xp.concatenate([factors, turn[:, None]], axis=1)
    return xp.where(apply, kind, -1), _choose(kind, values)


def jitter_stage(images, kind, value, additive: bool):
    """Change one property of each image, and clip to 0..255.

    Contrast is about the mean of each channel, saturation and hue are those
    of HSV.

    Args:
        images: Tensor of shape (B, H, W, 3).
        kind: Tensor of shape (B,): 0 changes the brightness, 1 the
            contrast, 2 the saturation, 3 the hue, another number nothing.
        value: float32 tensor of shape (B,): the factor, or the turn of the
            hue, or with `additive` the grey levels to add.
        additive: Whether brightness adds `value`, instead of multiplying.

    Returns:
        float32 tensor of the shape of `images`.
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
    """Turn the hue of `jittered`, and keep `images` where `apply` is false.

    Args:
        images: Tensor of shape (B, H, W, 3).
        jittered: float32 tensor of shape (B, H, W, 3).
        turn: float32 tensor of shape (B,), see `adjust_hue`.
        apply: Boolean tensor of shape (B,).

    Returns:
        float32 tensor of the shape of `images`.
    """
    xp = namespace(images)
    images = xp.cast(images, "float32")
    return xp.where(per_image(apply), adjust_hue(jittered, turn), images)


def solarize(images, apply, threshold):
    """Invert the values at or above `threshold` where `apply` is true.

    Args:
        images: Tensor of shape (B, H, W, C).
        apply: Boolean tensor of shape (B,).
        threshold: Number in 0..255, or a tensor of shape (B, 1, 1, 1).

    Returns:
        float32 tensor of the shape of `images`.
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
