"""Colour operations for given parameters: pure TensorFlow functions.

Images are (B, H, W, 3) with values 0..255; parameters are one per image, shape
(B,). The operations are those of torchvision (and of Pillow, without its
rounding to integers); `jitter_stage` is that of `tf.image` and of the official
SimCLR and BYOL code. Each function runs in eager mode, in a graph and compiled
by XLA, and gives the same pixels in all three.
"""

import numpy as np
import tensorflow as tf

from minc_tf.augment.ops import blend, per_image

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def grayscale(images: tf.Tensor) -> tf.Tensor:
    """Luma, 0.299 R + 0.587 G + 0.114 B (ITU-R 601).

    Args:
        images: float32 tensor of shape (B, H, W, 3).

    Returns:
        float32 tensor of shape (B, H, W, 1).
    """
    red, green, blue = tf.unstack(images, axis=-1)
    luma = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
    return luma[..., None]


def random_grayscale(images: tf.Tensor, apply: tf.Tensor) -> tf.Tensor:
    """Make the images whose `apply` is true grey, with three channels.

    Args:
        images: Tensor of shape (B, H, W, 3).
        apply: Boolean tensor of shape (B,).

    Returns:
        float32 tensor of the shape of `images`.
    """
    images = tf.cast(images, tf.float32)
    return tf.where(per_image(apply), grayscale(images), images)


def adjust_brightness(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply the pixels by `factor`, and clip to 0..255.

    Args:
        images: float32 tensor of shape (B, H, W, 3).
        factor: float32 tensor of shape (B,); 1 changes nothing.

    Returns:
        float32 tensor of the shape of `images`.
    """
    return _clip(images * per_image(factor))


def adjust_contrast(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend each image with its mean luma, and clip to 0..255.

    Args:
        images: float32 tensor of shape (B, H, W, 3).
        factor: float32 tensor of shape (B,); 0 is flat grey, 1 changes
            nothing.

    Returns:
        float32 tensor of the shape of `images`.
    """
    return _clip(blend(_mean_luma(images), images, per_image(factor)))


def adjust_saturation(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend each pixel with its own luma, and clip to 0..255.

    Args:
        images: float32 tensor of shape (B, H, W, 3).
        factor: float32 tensor of shape (B,); 0 is grey, 1 changes nothing.

    Returns:
        float32 tensor of the shape of `images`.
    """
    return _clip(blend(grayscale(images), images, per_image(factor)))


def adjust_hue(
    images: tf.Tensor, turn: tf.Tensor, saturation: tf.Tensor | None = None
) -> tf.Tensor:
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
    red, green, blue = tf.unstack(images, axis=-1)
    largest = tf.maximum(tf.maximum(red, green), blue)
    smallest = tf.minimum(tf.minimum(red, green), blue)
    chroma = largest - smallest
    # Ordered comparisons: XLA may compute `largest == red` from differently
    # rounded copies of one number.
    red_largest = tf.logical_and(red >= green, red >= blue)
    green_largest = green >= blue
    difference = tf.where(
        red_largest,
        green - blue,
        tf.where(green_largest, blue - red, red - green),
    )
    sector = tf.where(red_largest, 0.0, tf.where(green_largest, 2.0, 4.0))
    hue = sector + difference / tf.maximum(chroma, 1e-12)
    hue = hue + 6.0 * turn[:, None, None]
    position = hue[..., None] + np.array([5.0, 3.0, 1.0], np.float32)
    position = position - 6.0 * tf.floor(position * (1.0 / 6.0))
    share = tf.minimum(position, 4.0 - position)
    share = tf.clip_by_value(share, 0.0, 1.0)
    if saturation is not None:
        chroma = tf.minimum(chroma * saturation[:, None, None], largest)
    return largest[..., None] - chroma[..., None] * share


def jitter_in_order(
    images: tf.Tensor, factors: tf.Tensor, order: tf.Tensor
) -> tf.Tensor:
    """Adjust brightness, contrast and saturation in each image's own order.

    Clips to 0..255 after each of the three, as torchvision does.

    Args:
        images: Tensor of shape (B, H, W, 3).
        factors: float32 tensor of shape (B, 3): the factors of brightness,
            contrast and saturation (see `adjust_brightness` and the others).
        order: int32 tensor of shape (B, 3), a permutation of 0, 1, 2 per
            image: which of the three comes first, second, third.

    Returns:
        float32 tensor of the shape of `images`.
    """
    images = tf.cast(images, tf.float32)
    for stage in range(3):
        # All three are blends with a base image: black, mean luma, own luma.
        step = order[:, stage]
        factor = tf.gather(factors, step, batch_dims=1)
        base = tf.where(
            per_image(step == 1),
            _mean_luma(images),
            tf.where(per_image(step == 2), grayscale(images), 0.0),
        )
        images = _clip(blend(base, images, per_image(factor)))
    return images


def jitter_stage(
    images: tf.Tensor, kind: tf.Tensor, value: tf.Tensor, additive: bool
) -> tf.Tensor:
    """Change one property of each image, and clip to 0..255.

    Contrast is about the mean of each channel, saturation and hue are those
    of HSV.

    Args:
        images: Tensor of shape (B, H, W, 3).
        kind: int32 tensor of shape (B,): 0 changes the brightness, 1 the
            contrast, 2 the saturation, 3 the hue, another number nothing.
        value: float32 tensor of shape (B,): the factor, or the turn of the
            hue, or with `additive` the grey levels to add.
        additive: Whether brightness adds `value`, instead of multiplying.

    Returns:
        float32 tensor of the shape of `images`.
    """
    images = tf.cast(images, tf.float32)
    which, amount = per_image(kind), per_image(value)
    bright = images + amount if additive else images * amount
    mean = tf.reduce_mean(images, axis=[1, 2], keepdims=True)
    turn = tf.where(kind == 3, value, 0.0)
    hsv = adjust_hue(images, turn, tf.where(kind == 2, value, 1.0))
    result = tf.where(which == 0, bright, images)
    result = tf.where(which == 1, blend(mean, images, amount), result)
    result = tf.where(tf.logical_or(which == 2, which == 3), hsv, result)
    return _clip(result)


def select_hue(
    images: tf.Tensor,
    jittered: tf.Tensor,
    turn: tf.Tensor,
    apply: tf.Tensor,
) -> tf.Tensor:
    """Turn the hue of `jittered`, and keep `images` where `apply` is false.

    Args:
        images: Tensor of shape (B, H, W, 3).
        jittered: float32 tensor of shape (B, H, W, 3).
        turn: float32 tensor of shape (B,), see `adjust_hue`.
        apply: Boolean tensor of shape (B,).

    Returns:
        float32 tensor of the shape of `images`.
    """
    images = tf.cast(images, tf.float32)
    return tf.where(per_image(apply), adjust_hue(jittered, turn), images)


def solarize(
    images: tf.Tensor, apply: tf.Tensor, threshold: float
) -> tf.Tensor:
    """Invert the values at or above `threshold` where `apply` is true.

    Args:
        images: Tensor of shape (B, H, W, C).
        apply: Boolean tensor of shape (B,).
        threshold: Number in 0..255.

    Returns:
        float32 tensor of the shape of `images`.
    """
    images = tf.cast(images, tf.float32)
    invert = tf.logical_and(per_image(apply), images >= threshold)
    return tf.where(invert, 255.0 - images, images)


def _clip(images):
    return tf.clip_by_value(images, 0.0, 255.0)


def _mean_luma(images):
    """Mean luma of each image, shape (B, 1, 1, 1)."""
    # Luma before mean: twice as fast in XLA as the mean of three channels.
    return tf.reduce_mean(grayscale(images), axis=[1, 2], keepdims=True)
