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


@pytest.mark.parametrize(
    ("height", "width", "area"),
    [(32, 32, (0.08, 1.0)), (375, 500, (0.08, 1.0)), (40, 200, (0.2, 1.0))],
)
def test_crop_area_aspect_and_place(height, width, area):
    rng = np.random.default_rng(0)
    aspect = (3 / 4, 4 / 3)
    reference = np.array(
        [
            reference_crop(rng, height, width, area, aspect)
            for _ in range(4 * DRAWS)
        ],
        float,
    )
    layer = augment.RandomResizedCrop(32, area=area, aspect=aspect)
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


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [(1, 1, (0, 0, 1, 1)), (1, 90, (0, 44, 1, 1)), (90, 2, (43, 0, 3, 2))],
)
def test_crop_of_extreme_images_is_the_central_fallback(height, width, box):
    layer = augment.RandomResizedCrop(8, area=(0.9, 1.0))
    ours = sampled(layer, height, width, count=50).numpy()
    np.testing.assert_array_equal(ours, np.tile(box, (50, 1)))


def test_jitter_factors_order_and_probability():
    rng = np.random.default_rng(1)
    layer = augment.ColorJitter(0.4, 1.5, 0.2, 0.1, probability=0.8)
    factors, order, turn, apply = (t.numpy() for t in sampled(layer))
    ranges = [(0.6, 1.4), (0.0, 2.5), (0.8, 1.2)]
    columns = [*factors.T, turn]
    for ours, (low, high) in zip(columns, [*ranges, (-0.1, 0.1)], strict=True):
        assert distance(ours, rng.uniform(low, high, 4 * DRAWS)) < 0.03
    assert np.abs(np.corrcoef([*columns, apply]) - np.eye(5)).max() < 0.05
    assert abs(apply.mean() - 0.8) < 0.02
    _, counts = np.unique(order, axis=0, return_counts=True)
    assert len(counts) == 6
    assert np.abs(counts / DRAWS - 1 / 6).max() < 0.02


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
