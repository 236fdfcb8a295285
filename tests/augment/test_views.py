"""The view pairs: independent, reproducible, and those of the papers."""

import dataclasses
import doctest
import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import minc_tf
from minc_tf import augment
from minc_tf.augment import presets


def dataset(count=12, size=24, epoch=0):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size, 3)).astype(np.uint8)
    seeds = np.stack([np.full(count, 5), np.arange(count) + count * epoch], 1)
    return {"images": images, "augmentation_seed": seeds.astype(np.int64)}


@pytest.fixture(scope="module")
def views():
    return augment.MultiView(presets.byol(24), 24)


def test_same_views_for_every_batch_size_and_worker_count(views):
    data = tf.data.Dataset.from_tensor_slices(dataset())
    batches = data.batch(4, drop_remainder=True).map(
        augment.MultiView(presets.byol(24), 24, jit_compile=True),
        num_parallel_calls=3,
        deterministic=True,
    )
    pairs = list(batches.as_numpy_iterator())
    run = [np.concatenate(pair) for pair in zip(*pairs, strict=True)]
    for ours, expected in zip(run, views(dataset()), strict=True):
        assert ours.shape == (12, 24, 24, 3)
        np.testing.assert_allclose(ours, expected, atol=1e-2)


def test_views_images_epochs_and_seeds_differ(views):
    given = dataset()
    given["images"][:] = given["images"][0]
    first, second = (v.numpy() for v in views(given))
    other = views({**dataset(epoch=1), "images": given["images"]})
    everything = np.concatenate([first, second, *other]).reshape(48, -1)
    distances = np.abs(everything[:, None] - everything[None]).mean(axis=2)
    assert distances[~np.eye(48, dtype=bool)].min() > 1


def test_views_of_one_distribution_are_independent():
    pair = augment.MultiView(presets.simclr(8, blur=False), 8)
    images = np.full([2000, 8, 8, 3], 100, np.uint8)
    images[..., 1] = 60
    first, second = pair(images)
    mean = [np.asarray(v).mean(axis=(1, 2, 3)) for v in (first, second)]
    assert abs(np.corrcoef(mean)[0, 1]) < 0.1


def test_plain_tensor_and_single_image_and_own_seed():
    images = dataset()["images"]
    make = lambda: augment.MultiView(presets.simclr(24), 16, seed=0)  # noqa: E731
    layer, again = make(), make()
    first = layer(images)
    np.testing.assert_array_equal(first, again(images))
    assert np.abs(np.asarray(first) - layer(images)).max() > 1
    one = layer(images[0])
    assert [v.shape for v in one] == [(16, 16, 3)] * 2


def test_single_image_equals_its_place_in_a_batch(views):
    given = dataset()
    whole = views(given)
    one = views({key: value[7] for key, value in given.items()})
    for ours, batch in zip(one, whole, strict=True):
        np.testing.assert_allclose(ours, batch[7], atol=1e-3)


def test_training_false_is_the_resized_image(views):
    images = dataset()["images"]
    for view in views(images, training=False):
        np.testing.assert_array_equal(view, images)


def test_saved_in_a_model_with_lists_for_tuples():
    layer = augment.MultiView(presets.byol(24), (20, 24), seed=3)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.configs == layer.configs
    given = dataset()
    np.testing.assert_array_equal(again(given), layer(given))


def test_views_stay_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = augment.MultiView(presets.simclr(24), 24)
        assert {v.dtype for v in layer(dataset())} == {tf.float32}
    finally:
        keras.config.set_dtype_policy(before)


def test_unknown_batch_and_image_sizes(views):
    @tf.function(
        input_signature=[
            {
                "images": tf.TensorSpec([None, None, None, 3], tf.uint8),
                "augmentation_seed": tf.TensorSpec([None, 2], tf.int64),
            }
        ]
    )
    def dynamic(inputs):
        return views(inputs)

    given = dataset()
    parts = [
        dynamic({key: value[i : i + 5] for key, value in given.items()})
        for i in (0, 5, 10)
    ]
    found = [tf.concat(view, axis=0) for view in zip(*parts, strict=True)]
    for ours, expected in zip(found, views(given), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-2)


@pytest.mark.parametrize("seeded", [True, False])
def test_static_batches_in_a_graph_are_compiled(seeded):
    views = augment.MultiView(presets.byol(24), 24)
    given = dataset() if seeded else {"images": dataset()["images"]}
    specs = {
        "images": tf.TensorSpec([12, 24, 24, 3], tf.uint8),
        "augmentation_seed": tf.TensorSpec([None, 2], tf.int64),
    }
    traced = tf.function(views).get_concrete_function(
        {key: specs[key] for key in given}
    )
    names = {op.type for op in traced.graph.get_operations()}
    # Neither pixels nor random numbers are computed outside the programs.
    assert names.isdisjoint({"BitwiseXor", "Mean", "MirrorPad"})


def test_presets_are_those_of_the_papers():
    first, second = presets.simclr(224)
    assert first == second == augment.ViewConfig()
    cifar = presets.simclr(32, strength=0.5, blur=False)[0]
    assert (cifar.brightness, cifar.hue, cifar.blur_p) == (0.4, 0.1, 0.0)
    first, second = presets.byol(224)
    assert dataclasses.replace(second, blur_p=1.0, solarize_p=0.0) == first
    assert (second.blur_p, second.solarize_p) == (0.1, 0.2)
    assert (first.saturation, first.blur_kernel) == (0.2, 23)
    spectral = presets.spectral_cifar()[0]
    assert spectral == dataclasses.replace(cifar, area=(0.2, 1.0))


def test_semantics_of_presets():
    (first, _), (byol, _) = presets.simclr(32), presets.byol(32)
    official, again = presets.simclr(32, semantics="tf")
    assert official == again
    assert official == dataclasses.replace(
        first, semantics="tf", area=(0.1, 1.0)
    )
    official, _ = presets.byol(32, semantics="tf")
    assert official == dataclasses.replace(
        byol, semantics="tf_byol", solarize_threshold=127.5
    )
    layers = augment.view_layers(32, official)
    assert [x.semantics for x in layers if "semantics" in x.get_config()] == [
        "tf_byol"
    ] * 3


def test_presets_of_simsiam_and_mio():
    first, second = presets.simsiam(224)
    assert (
        first
        == second
        == augment.ViewConfig(
            area=(0.2, 1.0),
            brightness=0.4,
            contrast=0.4,
            saturation=0.4,
            hue=0.1,
        )
    )
    assert presets.simsiam(32, blur=False) == presets.spectral_cifar()
    small, large = presets.mio(32)[0], presets.mio(96)[1]
    cifar, _ = presets.simclr(32, 0.5, blur=False, area=(0.8, 1.0))
    assert dataclasses.replace(small, solarize_threshold=128.0) == cifar
    assert (large.blur_p, large.blur_kernel, large.solarize_p) == (0.5, 9, 0.2)


def test_multi_crop_views_have_their_own_size_and_draws():
    large = presets.byol(24, area=(0.14, 1.0))
    configs, sizes = presets.multi_crop(large, 24, small_size=12, count=3)
    assert sizes == [(24, 24)] * 2 + [(12, 12)] * 3
    assert [c.solarize_p for c in configs] == [0.0, 0.2, 0.0, 0.2, 0.0]
    assert {c.area for c in configs[2:]} == {(0.05, 0.14)}
    layer = augment.MultiView(configs, sizes)
    result = layer(dataset())
    assert layer.built
    assert [v.shape[1:3] for v in result] == sizes
    # The third and the fifth are drawn from one distribution.
    assert np.abs(result[2] - result[4]).mean(axis=(1, 2, 3)).min() > 1
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.sizes == layer.sizes
    np.testing.assert_array_equal(again(dataset())[3], result[3])


def test_one_size_or_one_per_view():
    configs = presets.simclr(24)
    one = augment.MultiView(configs, [20, 24])
    assert one.size == (20, 24) and one.sizes == [(20, 24)] * 2
    pairs = [(20, 20), (24, 12)]
    two = augment.MultiView(configs, pairs)
    assert two.size == two.sizes == pairs
    three = augment.MultiView([*configs, configs[0]], [8, 9, (10, 11)])
    assert three.sizes == [(8, 8), (9, 9), (10, 11)]


SPLIT = {
    "torchvision": lambda: presets.byol(24),
    "antialias": lambda: [
        dataclasses.replace(c, antialias=True) for c in presets.byol(24)
    ],
    "tf": lambda: presets.simclr(24, semantics="tf"),
    "tf_byol": lambda: presets.byol(24, semantics="tf"),
}


def crop_only(configs):
    """The configurations without any change of colour."""
    none = {"jitter_p": 0, "grey_p": 0, "blur_p": 0, "solarize_p": 0}
    return [dataclasses.replace(c, **none) for c in configs]


def split(layer, given):
    """Views made of crops of single images."""
    pairs = zip(given["images"], given["augmentation_seed"], strict=True)
    crops = [layer.crop(*pair) for pair in pairs]
    batch = [tf.stack(c) for c in zip(*crops, strict=True)]
    return layer.finish(batch, given["augmentation_seed"])


@pytest.mark.parametrize("name", SPLIT)
def test_crops_of_single_images_are_those_of_a_batch(name):
    layer = augment.MultiView(crop_only(SPLIT[name]()), 24)
    given = dataset(size=40)
    for ours, expected in zip(split(layer, given), layer(given), strict=True):
        # Half a grey level, and TensorFlow's bicubic is not exact.
        assert np.abs(ours - expected).max() < 0.75


@pytest.mark.parametrize("name", SPLIT)
def test_finished_crops_are_the_views(name):
    layer = augment.MultiView(SPLIT[name](), 24)
    given = dataset(size=40)
    for ours, expected in zip(split(layer, given), layer(given), strict=True):
        error = np.abs(ours - expected)
        assert np.quantile(error, 0.95) < 1
        # A jitter of 1.8 times 1.8 enlarges the half level of the crop.
        assert error.max() < 4


def test_crop_and_finish_in_a_pipeline():
    # The view with everything in it.
    layer = augment.MultiView(presets.byol(24)[1:], 24)
    given = dataset(size=40)

    def crop(example):
        seed = example["augmentation_seed"]
        return layer.crop(example["images"], seed), seed

    data = tf.data.Dataset.from_tensor_slices(given)
    data = data.map(crop, num_parallel_calls=2).batch(12, drop_remainder=True)
    (views,) = data.map(layer.finish)
    for ours, expected in zip(views, split(layer, given), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-2)


def test_boxes_of_one_image_are_those_of_its_batch():
    for configs in (presets.byol(24), presets.simclr(24, semantics="tf")):
        layers = [x[0] for x in augment.MultiView(configs, 24).view_layers]
        seeds = dataset(count=100)["augmentation_seed"]
        images = tf.zeros([100, 37, 41, 3], tf.uint8)

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, 3], tf.uint8),
                tf.TensorSpec([2], tf.int64),
            ]
        )
        def boxes(image, seed, layers=layers):
            return [
                x.get_random_transformation_batch(1, image[None], seed[None])[0]
                for x in layers
            ]

        one = np.array([boxes(images[i], s) for i, s in enumerate(seeds)])
        for view, layer in enumerate(layers):
            batch = layer.get_random_transformation_batch(100, images, seeds)
            np.testing.assert_array_equal(one[:, view], batch)


@pytest.mark.parametrize("name", SPLIT)
@pytest.mark.parametrize("shape", [(1, 1), (10_000, 1), (1, 900), (5, 9)])
def test_crop_of_small_and_extreme_images(name, shape):
    layer = augment.MultiView(SPLIT[name](), 24)
    image = np.full([*shape, 3], 77, np.uint8)
    for crop in layer.crop(image, np.array([3, 4])):
        assert crop.dtype == tf.uint8
        np.testing.assert_array_equal(crop, np.full([24, 24, 3], 77))


def test_bad_inputs_of_crop_and_finish(views):
    image, seed = np.zeros([9, 9, 3], np.uint8), np.array([0, 1])
    with pytest.raises(ValueError, match=r"image must be uint8.*float32"):
        views.crop(image.astype(np.float32), seed)
    with pytest.raises(ValueError, match=r"image must be uint8.*1, 9, 9"):
        views.crop(image[None], seed)
    with pytest.raises(ValueError, match="int64 of shape"):
        views.crop(image, seed[None])
    crop = np.zeros([3, 24, 24, 3], np.uint8)
    with pytest.raises(ValueError, match=r"2 batches.*received 1"):
        views.finish([crop], np.zeros([3, 2], int))
    with pytest.raises(ValueError, match="must have shape"):
        views.finish([crop, crop[:, 1:]], np.zeros([3, 2], int))
    with pytest.raises(ValueError, match="one pair per image"):
        views.finish([crop, crop], np.zeros([2, 2], int))


def test_operations_of_probability_zero_are_left_out():
    config = augment.ViewConfig(
        flip=0, jitter_p=0, grey_p=0, blur_p=0, solarize_p=0
    )
    (layer,) = augment.view_layers(16, config)
    assert isinstance(layer, augment.RandomResizedCrop)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augment.ViewConfig(area=(0.0, 1.0)), "area must"),
        (lambda: augment.ViewConfig(grey_p=2), "grey_p .*received 2"),
        (lambda: augment.ViewConfig(hue=0.7), "hue must"),
        (lambda: augment.ViewConfig(blur_kernel=6), "blur_kernel must"),
        (lambda: augment.MultiView([], 24), "configs must"),
        (lambda: augment.MultiView(["simclr"], 24), "configs must.*'simclr'"),
        (lambda: augment.MultiView(presets.byol(24), 0), "size must"),
        (lambda: presets.simclr(32, strength=-1), "strength must"),
        (
            lambda: augment.MultiView(presets.byol(24), [24]),
            "size must.*2 conf",
        ),
        (lambda: presets.byol(0), "size must"),
        (lambda: presets.simclr(8, semantics="tf_byol"), "semantics must"),
        (lambda: presets.mio(0), "size must"),
        (lambda: presets.multi_crop([], 24, count=-1), "count must"),
        (lambda: presets.multi_crop([], 24), "large must"),
        (
            lambda: augment.ViewConfig(antialias=True, semantics="tf"),
            "antialias must be False",
        ),
        (lambda: augment.ViewConfig(semantics="tf2"), "semantics must.*'tf2'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "module",
    [
        "base",
        "geometry",
        "color",
        "blur",
        "view_config",
        "layers",
        "views",
        "presets",
    ],
)
def test_docstring_examples(module):
    module = importlib.import_module(f"minc_tf.augment.{module}")
    names = {"minc_tf": minc_tf, "np": np, "keras": keras, "tf": tf}
    result = doctest.testmod(module, extraglobs=names)
    assert result.failed == 0
