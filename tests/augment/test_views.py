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
    runs = []
    for size, workers, compile_it in (
        (4, 1, True),
        (4, 3, True),
        (5, 2, False),
    ):
        batches = data.batch(size, drop_remainder=compile_it).map(
            augment.MultiView(presets.byol(24), 24, jit_compile=compile_it),
            num_parallel_calls=workers,
            deterministic=True,
        )
        pairs = list(batches.as_numpy_iterator())
        runs.append([np.concatenate(p) for p in zip(*pairs, strict=True)])
    eager = views(dataset())
    for run in runs:
        for ours, expected in zip(run, eager, strict=True):
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
    for ours, expected in zip(dynamic(given), views(given), strict=True):
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


def test_operations_of_probability_zero_are_left_out():
    config = augment.ViewConfig(
        flip=0, jitter_p=0, grey_p=0, blur_p=0, solarize_p=0
    )
    (layer,) = augment.view_layers(16, config)
    assert isinstance(layer, augment.RandomResizedCrop)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augment.ViewConfig(area=(0.0, 1.0)), "`area`"),
        (lambda: augment.ViewConfig(grey_p=2), "`grey_p`.*got 2"),
        (lambda: augment.ViewConfig(hue=0.7), "`hue`"),
        (lambda: augment.ViewConfig(blur_kernel=6), "`blur_kernel`"),
        (lambda: augment.MultiView([], 24), "`configs`"),
        (lambda: augment.MultiView(["simclr"], 24), "`configs`.*'simclr'"),
        (lambda: augment.MultiView(presets.byol(24), 0), "`size`"),
        (lambda: presets.simclr(32, strength=-1), "`strength`"),
        (lambda: presets.byol(0), "`size`"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "module",
    ["base", "random", "geometry", "color", "blur", "views", "presets"],
)
def test_docstring_examples(module):
    module = importlib.import_module(f"minc_tf.augment.{module}")
    names = {"minc_tf": minc_tf, "np": np, "keras": keras, "tf": tf}
    result = doctest.testmod(module, extraglobs=names)
    assert result.failed == 0
