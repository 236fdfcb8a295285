"""Images to the size of a model."""

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from minc_tf.data.resize import resize_and_crop


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (40, 60, (16, 16)),
        (60, 40, (16, 16)),
        (30, 30, (12, 24)),
        (7, 5, (9, 9)),
    ],
)
def test_resize_covers_and_cuts_the_centre(height, width, size):
    """Against Pillow's antialiased bilinear filter, then a centred cut."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack(
        [128 + 99 * np.sin(x / 9), 255 * y / height, 255 * x / width], -1
    ).astype(np.uint8)
    scale = max(size[0] / height, size[1] / width)
    new = [round(scale * width), round(scale * height)]
    image = PIL.Image.fromarray(pixels).resize(
        new, PIL.Image.Resampling.BILINEAR
    )
    top, left = (new[1] - size[0]) // 2, (new[0] - size[1]) // 2
    wanted = np.asarray(image)[top : top + size[0], left : left + size[1]]
    found = resize_and_crop(pixels, size).numpy()
    assert found.shape == (*size, 3)
    assert np.abs(found.astype(int) - wanted).max() <= 2


@pytest.mark.parametrize(
    "shape",
    [(40, 60), (61, 37), (5, 7), (1, 1), (2, 300), (300, 2), (16, 17), (9, 16)],
)
@pytest.mark.parametrize("size", [(16, 16), (9, 20)])
def test_equals_resizing_all_of_the_image(shape, size):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, *shape, 3), np.uint8)
    scale = max(size[0] / shape[0], size[1] / shape[1])
    scaled = np.maximum(np.round(scale * np.array(shape)), size).astype(int)
    whole = tf.image.resize(images, scaled, antialias=True).numpy()
    top, left = (scaled - size) // 2
    wanted = whole[:, top : top + size[0], left : left + size[1]]
    found = resize_and_crop(images, size).numpy()
    assert found.dtype == np.uint8
    # The rest is rounding: half of a level, and the digits of the scale.
    assert np.abs(found - wanted).max() <= 0.51
    one = resize_and_crop(images[1], size).numpy()
    np.testing.assert_array_equal(one, found[1])


@pytest.mark.parametrize("shape", [(1, 10**6, 3), (10**6, 1, 3)])
def test_a_very_long_image(shape):
    """All of it scaled to 224 pixels would take 600 GB."""
    image = np.zeros(shape, np.uint8)
    image.reshape(-1, 3)[10**6 // 2 :] = 200
    found = resize_and_crop(image, (224, 224)).numpy()
    if shape[0] > 1:
        found = found.transpose(1, 0, 2)
    # The centre lies between the last dark pixel and the first light one.
    ramp = 200 * (np.arange(224) + 0.5) / 224
    assert np.abs(found - ramp[:, np.newaxis]).max() <= 0.51


def test_an_image_of_that_size_is_left_alone():
    image = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    np.testing.assert_array_equal(resize_and_crop(image, (8, 6)), image)
