"""Image operations for given parameters: pure TensorFlow functions.

Images are (B, H, W, 3) with values 0..255; parameters are one per image, shape
(B,). The colour operations are those of torchvision (and of Pillow, without
its rounding to integers). Each function runs in eager mode, in a graph and
compiled by XLA, and gives the same pixels in all three.
"""

import numpy as np
import tensorflow as tf

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def crop_and_resize(
    images: tf.Tensor,
    boxes: tf.Tensor,
    size: tuple[int, int],
    antialias: bool = False,
) -> tf.Tensor:
    """Cut one box from each image and resize it, bilinear.

    Pixel centres lie at half-integers, and no pixel from outside the box is
    read: the result is that of cropping first.

    Args:
        images: uint8 or float tensor of shape (B, H, W, C).
        boxes: float32 tensor of shape (B, 4): top, left, height, width in
            pixels.
        size: Height and width of the result in pixels.
        antialias: Whether to widen the filter when the box is larger than
            the result, as Pillow does. Slower for large images.

    Returns:
        float32 tensor of shape (B, size[0], size[1], C).
    """
    top, left, height, width = tf.unstack(boxes, axis=1)
    if antialias:
        rows = _filter_weights(top, height, size[0], tf.shape(images)[1])
        columns = _filter_weights(left, width, size[1], tf.shape(images)[2])
        images = tf.cast(images, tf.float32)
        images = tf.einsum("byh,bhwc->bywc", rows, images)
        return tf.einsum("bxw,bywc->byxc", columns, images)
    low, high, weight = _neighbours(top, height, size[0])
    weight = weight[:, :, None, None]
    images = _blend(
        tf.gather(images, low, batch_dims=1),
        tf.gather(images, high, batch_dims=1),
        weight,
    )
    low, high, weight = _neighbours(left, width, size[1])
    weight = weight[:, None, :, None]
    return _blend(
        tf.gather(images, low, axis=2, batch_dims=1),
        tf.gather(images, high, axis=2, batch_dims=1),
        weight,
    )


def flip_horizontal(images: tf.Tensor, flip: tf.Tensor) -> tf.Tensor:
    """Mirror the images whose `flip` is true, left to right.

    Args:
        images: Tensor of shape (B, H, W, C).
        flip: Boolean tensor of shape (B,).

    Returns:
        float32 tensor of the shape of `images`.
    """
    images = tf.cast(images, tf.float32)
    return tf.where(_per_image(flip), images[:, :, ::-1], images)


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
    return tf.where(_per_image(apply), grayscale(images), images)


def adjust_brightness(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply the pixels by `factor`, and clip to 0..255.

    Args:
        images: float32 tensor of shape (B, H, W, 3).
        factor: float32 tensor of shape (B,); 1 changes nothing.

    Returns:
        float32 tensor of the shape of `images`.
    """
    return _clip(images * _per_image(factor))


def adjust_contrast(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend each image with its mean luma, and clip to 0..255.

    Args:
        images: float32 tensor of shape (B, H, W, 3).
        factor: float32 tensor of shape (B,); 0 is flat grey, 1 changes
            nothing.

    Returns:
        float32 tensor of the shape of `images`.
    """
    return _clip(_blend(_mean_luma(images), images, _per_image(factor)))


def adjust_saturation(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend each pixel with its own luma, and clip to 0..255.

    Args:
        images: float32 tensor of shape (B, H, W, 3).
        factor: float32 tensor of shape (B,); 0 is grey, 1 changes nothing.

    Returns:
        float32 tensor of the shape of `images`.
    """
    return _clip(_blend(grayscale(images), images, _per_image(factor)))


def adjust_hue(images: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """Turn the hue in HSV space; value and chroma stay.

    The largest and smallest channel are kept, so the round trip through HSV
    is not needed: each new channel is the largest minus a share of the
    chroma, which depends on the hue alone.

    Args:
        images: float32 tensor of shape (B, H, W, 3).
        turn: float32 tensor of shape (B,), in whole turns of the colour
            circle; 0 changes nothing.

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
            _per_image(step == 1),
            _mean_luma(images),
            tf.where(_per_image(step == 2), grayscale(images), 0.0),
        )
        images = _clip(_blend(base, images, _per_image(factor)))
    return images


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
    return tf.where(_per_image(apply), adjust_hue(jittered, turn), images)


def gaussian_weights(sigma: tf.Tensor, kernel_size: int) -> tf.Tensor:
    """Compute a truncated, normalised gaussian, centre first.

    Args:
        sigma: float32 tensor of shape (B,), in pixels.
        kernel_size: Odd number of pixels.

    Returns:
        float32 tensor of shape (B, kernel_size // 2 + 1). The centre counts
        once, the others twice, and the sum is 1.
    """
    distance = np.arange(kernel_size // 2 + 1, dtype=np.float32)
    weights = tf.exp(-0.5 * tf.square(distance / sigma[:, None]))
    total = 2.0 * tf.reduce_sum(weights, axis=1, keepdims=True) - 1.0
    return weights / total


def gaussian_blur(
    images: tf.Tensor, sigma: tf.Tensor, kernel_size: int, axis: int
) -> tf.Tensor:
    """Blur each image along one axis with its own sigma; mirror the borders.

    The mirror does not repeat the border pixel (`reflect` in torchvision and
    NumPy, `mirror` in SciPy). The blur is separable: along one axis, then
    along the other.

    Args:
        images: Tensor of shape (B, H, W, C), the length along `axis` above
            `kernel_size // 2`.
        sigma: float32 tensor of shape (B,), in pixels.
        kernel_size: Odd number of pixels at which the gaussian is cut.
        axis: 1 to blur along the height, 2 along the width.

    Returns:
        float32 tensor of the shape of `images`.
    """
    images = tf.cast(images, tf.float32)
    radius = kernel_size // 2
    padding = [[0, 0]] * 4
    padding[axis] = [radius, radius]
    padded = tf.pad(images, padding, "REFLECT")
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


def select(images: tf.Tensor, other: tf.Tensor, apply: tf.Tensor) -> tf.Tensor:
    """Take from `other` the images whose `apply` is true.

    Args:
        images: Tensor of shape (B, H, W, C).
        other: float32 tensor of shape (B, H, W, C).
        apply: Boolean tensor of shape (B,).

    Returns:
        float32 tensor of the shape of `images`.
    """
    images = tf.cast(images, tf.float32)
    return tf.where(_per_image(apply), other, images)


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
    invert = tf.logical_and(_per_image(apply), images >= threshold)
    return tf.where(invert, 255.0 - images, images)


def _per_image(values):
    return values[:, None, None, None]


def _blend(first, second, weight):
    """Return (1 - weight) first + weight second, in float32."""
    first, second = tf.cast(first, tf.float32), tf.cast(second, tf.float32)
    return first * (1.0 - weight) + second * weight


def _clip(images):
    return tf.clip_by_value(images, 0.0, 255.0)


def _mean_luma(images):
    """Mean luma of each image, shape (B, 1, 1, 1)."""
    # Luma before mean: twice as fast in XLA as the mean of three channels.
    return tf.reduce_mean(grayscale(images), axis=[1, 2], keepdims=True)


def _neighbours(start, length, count):
    """Find the two pixels around each sample, and the second's weight.

    Args:
        start: float32 (B,), the first pixel of the box.
        length: float32 (B,), the pixels of the box.
        count: Number of samples.

    Returns:
        int32 (B, count), int32 (B, count) and float32 (B, count).
    """
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


def _filter_weights(start, length, count, pixels):
    """Pillow's triangle filter as a float32 matrix (B, count, pixels)."""
    start, length = start[:, None, None], length[:, None, None]
    scale = length / count
    samples = (np.arange(count, dtype=np.float32) + 0.5)[None, :, None]
    centre = start + samples * scale
    pixel = tf.range(pixels, dtype=tf.float32)[None, None, :] + 0.5
    weights = 1.0 - tf.abs(pixel - centre) / tf.maximum(scale, 1.0)
    inside = tf.logical_and(pixel > start, pixel < start + length)
    weights = tf.where(inside, tf.maximum(weights, 0.0), 0.0)
    return weights / tf.reduce_sum(weights, axis=2, keepdims=True)
