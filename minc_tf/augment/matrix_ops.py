"""Crop, flip and blur as products with small matrices: pure functions.

Along each axis the three are linear, with weights of their own for each image.
On an accelerator two batched products of matrices are faster than gathering
pixels, and the antialiasing filter costs nothing. Functions take tensors of
TensorFlow or of Keras's backend; parameters are one per image, shape (B,).
"""

import numpy as np

from minc_tf.augment.arrays import namespace


def resample(images, rows, columns):
    """Multiply images (..., H, W, C) by a matrix along each axis.

    Rows are (..., height, H), columns (..., width, W); leading axes broadcast.
    """
    einsum = namespace(images).einsum
    images = einsum("...yh,...hwc->...ywc", rows, images)
    return einsum("...xw,...ywc->...yxc", columns, images)


def crop_weights(
    start,
    length,
    count: int,
    pixels,
    *,
    antialias: bool = False,
    bicubic: bool = False,
    mirror=None,
):
    """Weights (B, count, pixels) of one axis's pixels in the samples of a crop.

    Pixel centres lie at half-integers, and pixels outside the box have no
    weight: the result is that of cropping first. `antialias` is Pillow's,
    `bicubic` Keys' cubic (a = -0.5), never antialiased.
    """
    xp = namespace(start)
    start, length = start[:, None, None], length[:, None, None]
    scale = length / count
    samples = (np.arange(count, dtype=np.float32) + 0.5)[None, :, None]
    if mirror is not None:
        samples = xp.where(mirror[:, None, None], count - samples, samples)
    centre = start + samples * scale
    pixel = xp.arange(pixels, dtype="float32")[None, None, :] + 0.5
    distance = abs(pixel - centre)
    if bicubic:
        weights = _keys_cubic(distance)
    else:
        radius = xp.maximum(scale, 1.0) if antialias else 1.0
        weights = xp.maximum(1.0 - distance / radius, 0.0)
    inside = xp.logical_and(pixel > start, pixel < start + length)
    weights = xp.where(inside, weights, 0.0)
    return weights / xp.sum(weights, axis=2, keepdims=True)


def gaussian_weights(sigma, kernel_size: int):
    """A truncated gaussian for each sigma (B,), (B, kernel_size // 2 + 1).

    The centre comes first and counts once, the others twice; the sum is 1.
    """
    xp = namespace(sigma)
    distance = np.arange(kernel_size // 2 + 1, dtype=np.float32)
    weights = xp.exp(-0.5 * xp.square(distance / sigma[:, None]))
    total = 2.0 * xp.sum(weights, axis=1, keepdims=True) - 1.0
    return weights / total


def blur_weights(sigma, kernel_size: int, pixels: int, mirror: bool = True):
    """Weights (B, pixels, pixels) of one axis's pixels in the blurred ones.

    Mirrored borders, which do not repeat the border pixel, need `pixels` above
    `kernel_size // 2`; other borders are black.
    """
    radius = kernel_size // 2
    padding = ((radius, radius), (0, 0))
    padded = np.pad(
        np.eye(pixels, dtype=np.float32),
        padding,
        "reflect" if mirror else "constant",
    )
    # taps[k, i] tells which pixels lie k to the left or right of pixel i.
    taps = [padded[radius : radius + pixels]]
    for offset in range(1, radius + 1):
        left = padded[radius - offset :][:pixels]
        taps.append(left + padded[radius + offset :][:pixels])
    weights = gaussian_weights(sigma, kernel_size)
    return namespace(weights).einsum("bk,kij->bij", weights, np.stack(taps))


def _keys_cubic(distance):
    xp = namespace(distance)
    inner = ((1.5 * distance - 2.5) * distance) * distance + 1.0
    outer = ((2.5 - 0.5 * distance) * distance - 4.0) * distance + 2.0
    outer = xp.where(distance < 2.0, outer, 0.0)
    return xp.where(distance < 1.0, inner, outer)
