"""Views made on the device against those of the input pipeline, `MultiView`."""

import dataclasses
import functools

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="compares with keras-cv layers")
scipy_stats = pytest.importorskip("scipy.stats")

from minc_tf import augment  # noqa: E402
from minc_tf.augment import device_views, presets  # noqa: E402

DRAWS = 10_000
#: The 0.1 % point of the distance of two samples of 10,000 is 0.028.
SAME, DIFFERENT = 0.03, 0.04
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
PLAIN = augment.ViewConfig(
    area=(1.0, 1.0),
    aspect=(1.0, 1.0),
    flip=0.0,
    jitter_p=0.0,
    grey_p=0.0,
    blur_p=0.0,
)


def coordinates(size=16):
    """An image whose red is the column, and whose green is the row."""
    rows, columns = (np.mgrid[0:size, 0:size] + 0.5) * 256 / size
    blue = np.full_like(rows, 128)
    return np.stack([columns, rows, blue], axis=-1)


def noise():
    return np.random.default_rng(0).integers(0, 256, (12, 12, 3))


def patches():
    """Four colours, none of them grey, dark or bright."""
    colours = [(150, 90, 70), (80, 120, 160), (140, 150, 60), (100, 60, 130)]
    return np.array(colours).reshape(2, 2, 3).repeat(2, 0).repeat(2, 1)


def luma(view):
    return view @ LUMA


def contrast(view):
    """Brightness changes neither this..."""
    return luma(view).std(axis=(1, 2)) / luma(view).mean(axis=(1, 2))


def saturation(view):
    """... nor this, nor does contrast."""
    return chroma(view) / np.maximum(luma(view).std(axis=(1, 2)), 1e-3)


def chroma(view):
    return (view.max(axis=-1) - view.min(axis=-1)).mean(axis=(1, 2))


def hue(view):
    """The angle of the first patch on the circle of colours."""
    red, green, blue = np.moveaxis(view[:, 0, 0], -1, 0)
    return np.arctan2(1.732 * (green - blue), 2 * red - green - blue)


#: Numbers that tell what was done to an image.
STATISTICS = {
    "column": lambda v: v[..., 0].mean(axis=(1, 2)),
    "row": lambda v: v[..., 1].mean(axis=(1, 2)),
    "width": lambda v: np.ptp(v[:, 0, :, 0], axis=1),
    "area": lambda v: np.ptp(v[:, 0, :, 0], 1) * np.ptp(v[:, :, 0, 1], 1),
    "flipped": lambda v: v[:, 0, 0, 0] > v[:, 0, -1, 0],
    "brightness": lambda v: v.mean(axis=(1, 2, 3)),
    "contrast": contrast,
    "saturation": saturation,
    "hue": hue,
    "grey": lambda v: chroma(v) < 1e-3,
    "blur": lambda v: np.abs(np.diff(v, axis=2)).mean(axis=(1, 2, 3)),
    "solarized": lambda v: luma(v).mean(axis=(1, 2)) > 127,
}

#: Of each kind of image and of configuration what is compared.
CASES = {
    "crop": (
        coordinates,
        dataclasses.replace(
            PLAIN, area=(0.08, 1.0), aspect=(3 / 4, 4 / 3), flip=0.5
        ),
        ("column", "row", "width", "area", "flipped"),
    ),
    "jitter": (
        patches,
        dataclasses.replace(
            PLAIN,
            jitter_p=0.8,
            brightness=0.4,
            contrast=0.4,
            saturation=0.2,
            hue=0.1,
            grey_p=0.2,
        ),
        ("brightness", "contrast", "saturation", "hue", "grey"),
    ),
    "blur": (
        noise,
        dataclasses.replace(PLAIN, blur_p=0.5, blur_kernel=9),
        ("blur",),
    ),
    "solarize": (
        lambda: np.full([2, 2, 3], 200),
        dataclasses.replace(PLAIN, solarize_p=0.2),
        ("solarized",),
    ),
    "everything": (
        functools.partial(coordinates, 10),
        presets.byol(10)[1],
        ("column", "brightness", "contrast", "saturation", "grey", "blur"),
    ),
}
SEMANTICS = ("torchvision", "tf", "tf_byol")
#: What differs from one of them to the next.
BY_SEMANTICS = (
    *(("crop", semantics) for semantics in SEMANTICS),
    *(("jitter", semantics) for semantics in SEMANTICS),
    *(("blur", semantics) for semantics in SEMANTICS[:2]),
    ("solarize", "torchvision"),
    ("everything", "tf"),
)


def batch(image):
    return tf.constant(np.tile(image()[None], (DRAWS, 1, 1, 1)), tf.uint8)


def statistics(view, names):
    view = np.asarray(view)
    return {name: STATISTICS[name](view).astype(float) for name in names}


@functools.cache
def of_pipeline(case, semantics):
    image, config, names = CASES[case]
    config = dataclasses.replace(config, semantics=semantics)
    images = batch(image)
    seeds = np.stack([np.full(DRAWS, 3), np.arange(DRAWS)], axis=1)
    layer = augment.MultiView([config], tuple(images.shape[1:3]))

    # Of an unknown batch size it blurs all images at once, which is faster.
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *images.shape[1:]], tf.uint8),
            tf.TensorSpec([None, 2], tf.int64),
        ]
    )
    def make(images, seeds):
        return layer({"images": images, "augmentation_seed": seeds})[0]

    return statistics(make(images, seeds), names)


def of_device(case, semantics, **changes):
    """Statistics of the first and of the second view."""
    image, config, names = CASES[case]
    config = dataclasses.replace(config, semantics=semantics, **changes)
    images = batch(image)
    layer = augment.TwoViews([config] * 2, tuple(images.shape[1:3]), seed=3)
    return [statistics(view, names) for view in layer(images)]


def distance(ours, reference):
    """The Kolmogorov-Smirnov distance of two samples.

    Boxes have whole numbers of pixels, so that many images have one number,
    which is rounded differently here and there: a little noise hides that.
    """
    rng = np.random.default_rng(0)
    little = 1e-3 * np.ptp(reference)
    ours, reference = (
        x + rng.uniform(0.0, little, len(x)) for x in (ours, reference)
    )
    return scipy_stats.ks_2samp(ours, reference).statistic


@pytest.mark.parametrize(("case", "semantics"), BY_SEMANTICS)
def test_ten_thousand_draws_are_those_of_the_pipeline(case, semantics):
    expected = of_pipeline(case, semantics)
    first, second = of_device(case, semantics)
    for name, reference in expected.items():
        assert np.ptp(reference) > 0, name
        for ours in (first[name], second[name]):
            assert distance(ours, reference) < SAME, name
        correlation = np.corrcoef(first[name], second[name])[0, 1]
        assert abs(correlation) < 0.04, name


@pytest.mark.parametrize(
    ("case", "changes", "name"),
    [
        ("crop", {"area": (0.2, 1.0)}, "area"),
        ("crop", {"aspect": (0.6, 1 / 0.6)}, "width"),
        ("crop", {"flip": 0.4}, "flipped"),
        ("jitter", {"brightness": 0.5}, "brightness"),
        ("jitter", {"contrast": 0.5}, "contrast"),
        ("jitter", {"saturation": 0.3}, "saturation"),
        ("jitter", {"hue": 0.12}, "hue"),
        ("jitter", {"jitter_p": 0.7}, "hue"),
        ("jitter", {"grey_p": 0.25}, "grey"),
        ("blur", {"blur_sigma": (0.1, 1.5)}, "blur"),
        ("blur", {"blur_kernel": 3}, "blur"),
        ("blur", {"blur_p": 0.4}, "blur"),
        ("solarize", {"solarize_p": 0.25}, "solarized"),
        ("solarize", {"solarize_threshold": 201}, "solarized"),
    ],
)
def test_another_distribution_is_told_apart(case, changes, name):
    expected = of_pipeline(case, "torchvision")
    first, _ = of_device(case, "torchvision", **changes)
    assert distance(first[name], expected[name]) > DIFFERENT


@pytest.mark.parametrize(
    ("semantics", "antialias"),
    [("torchvision", True), *((semantics, False) for semantics in SEMANTICS)],
)
def test_pixels_of_given_parameters_are_those_of_the_pipeline(
    semantics, antialias
):
    config = augment.ViewConfig(
        antialias=antialias,
        semantics=semantics,
        blur_kernel=5,
        solarize_p=0.5,
    )
    rng = np.random.default_rng(0)
    images = tf.constant(rng.integers(0, 256, (50, 23, 31, 3)), tf.uint8)
    numbers = rng.uniform(size=(50, 2, device_views.DRAWS))
    chosen = device_views.draw_parameters(
        tf.constant(numbers, tf.float32), [config] * 2, 23, 31
    )
    ours = device_views.make_views(images, chosen, [config] * 2, (13, 16))
    layers = augment.view_layers((13, 16), config)
    for view, pixels in enumerate(ours):
        own = device_views.ViewParameters(*(x[view::2] for x in chosen))
        given = [
            own.boxes,
            own.flip,
            (own.factors, own.order, own.turn, own.jitter),
            own.grey,
            (own.sigma, own.blur),
        ]
        expected = images
        for layer, transformation in zip(layers[:-1], given, strict=True):
            expected = layer.augment_images(expected, transformation)
        expected = layers[-1].augment_images(expected, own.solarize)
        # A level of 128 becomes 127: rounding can turn a pixel to either.
        error = np.abs(pixels - expected)
        assert np.quantile(error, 0.999) < 0.01
        assert error.max() < 1.01
