"""Ten thousand draws of each layer, against samplers written in NumPy."""

import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from minc_tf import augment

DRAWS = 10_000


def sampled(layer, height=32, width=32, count=DRAWS):
    seeds = np.stack([np.full(count, 3), np.arange(count)], axis=1)
    images = tf.zeros([1, height, width, 3], tf.uint8)  # for its size
    return layer.get_random_transformation_batch(
        count, images=images, seeds=tf.constant(seeds, tf.int64)
    )


def distance(ours, reference):
    return scipy.stats.ks_2samp(np.asarray(ours), reference).statistic


def reference_crop(rng, height, width, area, aspect):
    """Sample as torchvision's `RandomResizedCrop.get_params` does."""
    for _ in range(10):
        target = height * width * rng.uniform(*area)
        ratio = math.exp(rng.uniform(*np.log(aspect)))
        w = round(math.sqrt(target * ratio))
        h = round(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = rng.integers(0, height - h + 1)
            return top, rng.integers(0, width - w + 1), h, w
    ratio = width / height
    w, h = width, height
    if ratio < min(aspect):
        h = round(w / min(aspect))
    elif ratio > max(aspect):
        w = round(h * max(aspect))
    return (height - h) // 2, (width - w) // 2, h, w


def reference_byol(rng, height, width, area, aspect):
    """Sample as `_decode_and_random_crop` of BYOL's code does."""
    target = height * width * rng.uniform(*area)
    ratio = math.exp(rng.uniform(*np.log(aspect)))
    w = min(round(math.sqrt(target * ratio)), width)
    h = min(round(math.sqrt(target / ratio)), height)
    top = rng.integers(0, height - h + 1)
    return top, rng.integers(0, width - w + 1), h, w


@tf.function
def reference_simclr(height, width, area, aspect, count):
    """Sample with TensorFlow's own operation, as SimCLR's code does."""
    boxes = tf.TensorArray(tf.int32, count)
    for i in tf.range(count):
        start, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.stack([height, width, 3]),
            tf.zeros([0, 0, 4]),
            seed=tf.stack([5, i]),
            min_object_covered=0.1,
            aspect_ratio_range=aspect,
            area_range=area,
            max_attempts=100,
            use_image_if_no_bounding_boxes=True,
        )
        boxes = boxes.write(i, tf.concat([start[:2], size[:2]], axis=0))
    return boxes.stack()


def reference_crops(semantics, height, width, area, aspect):
    if semantics == "tf":
        return reference_simclr(height, width, area, aspect, 4 * DRAWS).numpy()
    rng = np.random.default_rng(0)
    one = reference_crop if semantics == "torchvision" else reference_byol
    boxes = [one(rng, height, width, area, aspect) for _ in range(4 * DRAWS)]
    return np.array(boxes)


@pytest.mark.parametrize("semantics", ["torchvision", "tf", "tf_byol"])
@pytest.mark.parametrize(
    ("height", "width", "area"),
    [(32, 32, (0.08, 1.0)), (375, 500, (0.08, 1.0)), (40, 200, (0.2, 1.0))],
)
def test_crop_area_aspect_and_place(height, width, area, semantics):
    aspect = (3 / 4, 4 / 3)
    reference = reference_crops(semantics, height, width, area, aspect)
    reference = reference.astype(float)
    if semantics == "tf":  # As the preset: at least a tenth of the image.
        area = (max(area[0], 0.1), area[1])
    layer = augment.RandomResizedCrop(
        32, area=area, aspect=aspect, semantics=semantics
    )
    ours = sampled(layer, height, width).numpy().astype(float)
    assert (ours[:, :2] >= 0).all() and (ours[:, 2:] >= 1).all()
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()
    for statistic in (
        lambda b: b[:, 2] * b[:, 3],
        lambda b: b[:, 3] / b[:, 2],
        lambda b: b[:, 0],
        lambda b: b[:, 1],
    ):
        assert distance(statistic(ours), statistic(reference)) < 0.03


@pytest.mark.parametrize("semantics", ["tf", "tf_byol"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 10_000), (90, 2)])
def test_other_crops_of_extreme_images_lie_inside(height, width, semantics):
    layer = augment.RandomResizedCrop(8, semantics=semantics)
    ours = sampled(layer, height, width, count=50).numpy()
    assert (ours[:, :2] >= 0).all() and (ours[:, 2:] >= 1).all()
    assert (ours[:, :2] + ours[:, 2:] <= (height, width)).all()
    if semantics == "tf" and width != 2:  # Nothing else fits.
        np.testing.assert_array_equal(ours[0], (0, 0, height, width))


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [(1, 1, (0, 0, 1, 1)), (1, 90, (0, 44, 1, 1)), (90, 2, (43, 0, 3, 2))],
)
def test_crop_of_extreme_images_is_the_central_fallback(height, width, box):
    layer = augment.RandomResizedCrop(8, area=(0.9, 1.0))
    ours = sampled(layer, height, width, count=50).numpy()
    np.testing.assert_array_equal(ours, np.tile(box, (50, 1)))


@pytest.mark.parametrize("semantics", ["torchvision", "tf", "tf_byol"])
def test_jitter_factors_order_and_probability(semantics):
    rng = np.random.default_rng(1)
    layer = augment.ColorJitter(
        0.4, 1.5, 0.2, 0.1, probability=0.8, semantics=semantics
    )
    factors, order, turn, apply = (t.numpy() for t in sampled(layer))
    added = semantics == "tf_byol"
    ranges = [(-102, 102) if added else (0.6, 1.4), (0.0, 2.5), (0.8, 1.2)]
    columns = [*factors.T, turn]
    for ours, (low, high) in zip(columns, [*ranges, (-0.1, 0.1)], strict=True):
        assert distance(ours, rng.uniform(low, high, 4 * DRAWS)) < 0.03
    assert np.abs(np.corrcoef([*columns, apply]) - np.eye(5)).max() < 0.05
    assert abs(apply.mean() - 0.8) < 0.02
    _, counts = np.unique(order, axis=0, return_counts=True)
    assert len(counts) == (6 if semantics == "torchvision" else 24)
    assert np.abs(counts / DRAWS - 1 / len(counts)).max() < 0.02


def test_blur_sigma_and_probability():
    rng = np.random.default_rng(2)
    layer = augment.RandomGaussianBlur((0.1, 2.0), 3, probability=0.5)
    sigma, apply = (t.numpy() for t in sampled(layer))
    assert distance(sigma, rng.uniform(0.1, 2.0, 4 * DRAWS)) < 0.03
    assert abs(apply.mean() - 0.5) < 0.02
    assert distance(sigma[apply], sigma[~apply]) < 0.04


@pytest.mark.parametrize(
    "layer",
    [
        augment.RandomFlip(0.3),
        augment.RandomGrayscale(0.3),
        augment.RandomSolarize(128, 0.3),
    ],
)
def test_probability(layer):
    assert abs(sampled(layer).numpy().mean() - 0.3) < 0.02


def test_kinds_of_layers_and_salts_draw_independently():
    chosen = [
        sampled(layer).numpy()
        for layer in (
            augment.RandomFlip(0.5),
            augment.RandomGrayscale(0.5),
            augment.RandomSolarize(128, 0.5),
            augment.RandomFlip(0.5, salt=1),
        )
    ]
    assert np.abs(np.corrcoef(chosen) - np.eye(4)).max() < 0.05
