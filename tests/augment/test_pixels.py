"""Ten thousand drawn changes of colour, and crops, against NumPy and Pillow.

The layer tells what it drew; the pixels are then computed a second time, in
NumPy, one image at a time or one operation at a time.
"""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from minc_tf import augment

LUMA = np.array([0.299, 0.587, 0.114])
SEMANTICS = ("torchvision", "tf", "tf_byol")
every_semantics = pytest.mark.parametrize("semantics", SEMANTICS)


def drawn(layer, images, salt=0):
    """Pixels of the layer, and the parameters it drew for them."""
    count = len(images)
    seeds = np.stack([np.full(count, 11 + salt), np.arange(count)], axis=1)
    seeds = tf.constant(seeds, tf.int64)
    pixels = layer({"images": images, "augmentation_seed": seeds})["images"]
    parameters = layer.get_random_transformation_batch(
        count, images=tf.constant(images), seeds=seeds
    )
    return pixels.numpy(), tf.nest.map_structure(np.asarray, parameters)


def pictures(count, height, width):
    """Random pictures: some grey, some dark, some of pure colours."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, height, width, 3))
    images[::7] = images[::7, ..., :1]
    images[1::7] //= 8
    images[2::7] = (images[2::7] > 127) * 255
    return images.astype(np.uint8)


def to_hsv(rgb):
    """Hue in turns, saturation and value of pixels in 0..255."""
    value, low = rgb.max(axis=-1), rgb.min(axis=-1)
    chroma = value - low
    safe = np.where(chroma > 0, chroma, 1)
    red, green, blue = np.moveaxis(rgb, -1, 0)
    hue = np.select(
        [value == red, value == green],
        [(green - blue) / safe % 6, (blue - red) / safe + 2],
        (red - green) / safe + 4,
    )
    return hue / 6, chroma / np.where(value > 0, value, 1), value


def to_rgb(hue, saturation, value):
    """Pixels of the six sectors of the colour circle."""
    sector = np.floor(hue * 6).astype(int)
    rest = hue * 6 - sector
    p = value * (1 - saturation)
    q = value * (1 - saturation * rest)
    t = value * (1 - saturation * (1 - rest))
    table = [(value, t, p), (q, value, p), (p, value, t)]
    table += [(p, q, value), (t, p, value), (value, p, q)]
    channels = [
        np.select([sector % 6 == i for i in range(6)], [c[k] for c in table])
        for k in range(3)
    ]
    return np.stack(channels, axis=-1)


def change(images, kind, value, semantics):
    """One operation of the jitter, with one value per image."""
    value = value[:, None, None]
    if kind == 3:
        hue, saturation, brightness = to_hsv(images)
        return to_rgb((hue + value) % 1.0, saturation, brightness)
    if kind == 2 and semantics != "torchvision":
        hue, saturation, brightness = to_hsv(images)
        return to_rgb(hue, np.clip(saturation * value, 0, 1), brightness)
    value = value[..., None]
    if kind == 0 and semantics == "tf_byol":
        return images + value
    if kind == 0:
        return images * value
    if kind == 1 and semantics != "torchvision":
        mean = images.mean(axis=(1, 2), keepdims=True)
    elif kind == 1:
        mean = (images @ LUMA).mean(axis=(1, 2))[:, None, None, None]
    else:
        mean = (images @ LUMA)[..., None]
    return mean + value * (images - mean)


@every_semantics
def test_ten_thousand_jitters(semantics):
    images = pictures(10_000, 4, 5)
    layer = augment.ColorJitter(0.8, 0.8, 0.8, 0.2, semantics=semantics)
    ours, (factors, order, turn, apply) = drawn(layer, images)
    values = np.concatenate([factors, turn[:, None]], axis=1).astype(float)
    if semantics == "torchvision":
        order = np.concatenate([order, np.full([len(order), 1], 3)], axis=1)
    expected = images.astype(float)
    for stage in range(4):
        for kind in range(4):
            rows = (order[:, stage] == kind) & apply
            expected[rows] = change(
                expected[rows], kind, values[rows, kind], semantics
            ).clip(0, 255)
    assert np.abs(ours - expected).max() < 1
    assert np.abs(ours - expected).mean() < 1e-3


@every_semantics
def test_drawn_crops_are_pillows(semantics):
    # No crop is larger than the result: filters are not widened.
    images = pictures(300, 20, 24)
    layer = augment.RandomResizedCrop((27, 25), semantics=semantics)
    ours, boxes = drawn(layer, images)
    kind = Image.BILINEAR if semantics == "torchvision" else Image.BICUBIC
    for image, pixels, box in zip(images, ours, boxes, strict=True):
        top, left, height, width = box.astype(int)
        cropped = image[top : top + height, left : left + width]
        channels = [
            Image.fromarray(c.astype(np.float32)).resize((25, 27), kind)
            for c in np.moveaxis(cropped, -1, 0)
        ]
        expected = np.stack(channels, axis=-1).clip(0, 255)
        np.testing.assert_allclose(pixels, expected, atol=0.1)
