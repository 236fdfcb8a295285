"""Pixels for given parameters, against Pillow, SciPy and NumPy."""

import colorsys

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from PIL import Image, ImageOps

from minc_tf.augment import color_ops, ops


def batch(count=4, height=20, width=24, seed=0):
    rng = np.random.default_rng(seed)
    shape = (count, height, width, 3)
    return rng.integers(0, 256, shape).astype(np.uint8)


def floats(images):
    return images.astype(np.float32)


def full(value, count=4):
    return np.full([count], value, np.float32)


def pillow_resize(image, box, size):
    """Bilinear resize of a cropped float image, channel by channel."""
    top, left, height, width = box
    cropped = floats(image)[top : top + height, left : left + width]
    return np.stack(
        [
            Image.fromarray(np.ascontiguousarray(cropped[..., c])).resize(
                (size[1], size[0]), Image.BILINEAR
            )
            for c in range(3)
        ],
        axis=-1,
    )


def numpy_resize(image, box, size):
    """Bilinear, half-pixel centres, no filter: one loop, written slowly."""
    top, left, height, width = box
    cropped = image[top : top + height, left : left + width].astype(float)
    result = np.zeros((*size, 3))
    for y in range(size[0]):
        for x in range(size[1]):
            row = np.clip((y + 0.5) * height / size[0] - 0.5, 0, height - 1)
            col = np.clip((x + 0.5) * width / size[1] - 0.5, 0, width - 1)
            y0, x0 = int(row), int(col)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            dy, dx = row - y0, col - x0
            result[y, x] = (1 - dy) * (
                (1 - dx) * cropped[y0, x0] + dx * cropped[y0, x1]
            ) + dy * ((1 - dx) * cropped[y1, x0] + dx * cropped[y1, x1])
    return result


BOXES = [(0, 0, 20, 24), (3, 5, 7, 6), (19, 23, 1, 1), (10, 0, 9, 24)]


@pytest.mark.parametrize("antialias", [False, True])
def test_crop_and_resize(antialias):
    images, size = batch(), (11, 13)
    boxes = np.array(BOXES, np.float32)
    ours = ops.crop_and_resize(images, boxes, size, antialias).numpy()
    reference = pillow_resize if antialias else numpy_resize
    for i, box in enumerate(BOXES):
        expected = reference(images[i], box, size)
        np.testing.assert_allclose(ours[i], expected, atol=1e-2)


def test_upscaling_is_pillow_with_and_without_antialias():
    images, boxes = batch(), np.array(BOXES[1:3] * 2, np.float32)
    for antialias in (False, True):
        ours = ops.crop_and_resize(images, boxes, (16, 16), antialias).numpy()
        for i, box in enumerate(BOXES[1:3] * 2):
            expected = pillow_resize(images[i], box, (16, 16))
            np.testing.assert_allclose(ours[i], expected, atol=1e-2)


def luma(images):
    return floats(images) @ np.array([0.299, 0.587, 0.114])


def clip(images):
    return np.clip(images, 0, 255)


def reference_step(images, step, factor):
    if step == 0:
        return clip(images * factor)
    if step == 1:
        mean = luma(images).mean(axis=(1, 2))[:, None, None, None]
        return clip(mean + factor * (images - mean))
    grey = luma(images)[..., None]
    return clip(grey + factor * (images - grey))


ADJUST = (
    color_ops.adjust_brightness,
    color_ops.adjust_contrast,
    color_ops.adjust_saturation,
)


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
def test_brightness_contrast_saturation(step, factor):
    images = floats(batch())
    np.testing.assert_allclose(
        ADJUST[step](images, full(factor)),
        reference_step(images, step, factor),
        atol=1e-2,
    )


def test_jitter_keeps_each_images_order():
    images = floats(batch())
    orders = np.array([(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)], np.int32)
    factors = np.array(
        [(1.6, 0.5, 1.7), (1.5, 1.6, 0.3), (0.4, 1.8, 1.2), (1.8, 0.2, 1.5)],
        np.float32,
    )
    ours = color_ops.jitter_in_order(images, factors, orders).numpy()
    for i, order in enumerate(orders):
        expected = images[i : i + 1]
        for step in order:
            expected = reference_step(expected, step, factors[i, step])
        np.testing.assert_allclose(ours[i : i + 1], expected, atol=1e-2)


@pytest.mark.parametrize("turn", [-0.5, -0.13, 0.0, 0.07, 0.2, 0.5])
def test_hue_is_that_of_hsv(turn):
    images = batch(1, 9, 9)
    images[0, 0] = [
        [9, 9, 9],
        [255, 255, 0],
        [0, 255, 255],
        *[[255, 0, 255]] * 6,
    ]
    ours = color_ops.adjust_hue(floats(images), full(turn, 1)).numpy()
    for pixel, result in zip(
        images.reshape(-1, 3), ours.reshape(-1, 3), strict=True
    ):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel / 255.0)
        turned = colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value)
        np.testing.assert_allclose(result, np.array(turned) * 255, atol=1e-2)


def test_select_hue_leaves_other_images_alone():
    images, apply = batch(), np.array([True, False, True, False])
    jittered = floats(images) * 0.5
    ours = color_ops.select_hue(images, jittered, full(0.0), apply).numpy()
    np.testing.assert_array_equal(ours[1::2], images[1::2])
    np.testing.assert_allclose(ours[::2], jittered[::2], atol=1e-3)


def test_grey_flip_and_solarize_against_pillow():
    images = batch()
    apply = np.array([True, False, True, True])
    grey = color_ops.random_grayscale(images, apply).numpy()
    flipped = ops.flip_horizontal(images, apply).numpy()
    solarized = color_ops.solarize(images, apply, threshold=128.0).numpy()
    for i in range(4):
        image = Image.fromarray(images[i])
        if apply[i]:
            expected = np.asarray(image.convert("L").convert("RGB"), float)
            # Pillow rounds luma to an integer.
            np.testing.assert_allclose(grey[i], expected, atol=0.51)
            np.testing.assert_array_equal(flipped[i], ImageOps.mirror(image))
            np.testing.assert_array_equal(
                solarized[i], ImageOps.solarize(image, 128)
            )
        else:
            for result in (grey, flipped, solarized):
                np.testing.assert_array_equal(result[i], images[i])


@pytest.mark.parametrize("kernel_size", [3, 9, 23])
@pytest.mark.parametrize(
    ("mirror", "mode"), [(True, "mirror"), (False, "constant")]
)
def test_blur_is_scipys_gaussian_filter(kernel_size, mirror, mode):
    images = floats(batch())
    sigma = np.array([0.1, 0.7, 1.3, 2.0], np.float32)
    blurred = images
    for axis in (1, 2):
        blurred = ops.gaussian_blur(blurred, sigma, kernel_size, axis, mirror)
    for i, s in enumerate(sigma.astype(float)):
        expected = scipy.ndimage.gaussian_filter(
            images[i].astype(float),
            (s, s, 0),
            mode=mode,
            radius=(kernel_size // 2, kernel_size // 2, 0),
        )
        np.testing.assert_allclose(blurred[i], expected, atol=1e-3)


def test_bicubic_is_that_of_tensorflow():
    images = batch()
    for size in ((11, 13), (40, 7)):
        ours = ops.crop_and_resize(
            images, np.array(BOXES, np.float32), size, bicubic=True
        )
        for i, (top, left, height, width) in enumerate(BOXES):
            box = images[i, top : top + height, left : left + width]
            expected = tf.image.resize(box, size, method="bicubic")
            # TensorFlow rounds positions to 1/1024 of a pixel.
            expected = np.clip(expected, 0, 255)
            np.testing.assert_allclose(ours[i], expected, atol=0.6)


@pytest.mark.parametrize("additive", [False, True])
def test_jitter_stage_is_tensorflows(additive):
    images = floats(batch(8))
    kind = np.array([0, 1, 2, 3, 2, 3, -1, 4], np.int32)
    value = np.array([1.3, 0.6, 1.7, 0.15, 0.4, -0.2, 9, 9], np.float32)
    ours = color_ops.jitter_stage(images, kind, value, additive).numpy()
    operations = {
        0: (lambda x, v: x + v) if additive else (lambda x, v: x * v),
        1: tf.image.adjust_contrast,
        2: lambda x, v: 255 * tf.image.adjust_saturation(x / 255, v),
        3: tf.image.adjust_hue,
    }
    for i, k in enumerate(kind):
        expected = images[i]
        if k in operations:
            expected = clip(operations[k](images[i], value[i]))
        np.testing.assert_allclose(ours[i], expected, atol=1e-2)
