"""Images that differ in size: decoded once, cropped, batched, finished."""

import itertools

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import minc_tf.data
from minc_tf import augment
from minc_tf.data import ArraySource, view_batches

SIZES = [(9, 7), (1, 1), (5, 12), (300, 1), (6, 6), (1, 40), (8, 8), (4, 30)]
N = len(SIZES)


class _Views:
    """Two crops of each size whose pixels tell the image and its seed."""

    def __init__(self, sizes=(3, 3)):
        self.sizes = sizes

    def __call__(self, batch):
        raise AssertionError("images of one size were expected")

    def crop(self, image, seed):
        assert image.dtype == tf.uint8
        assert seed.dtype == tf.int64
        number = tf.cast(image[0, 0, 0], tf.int64)
        values = tf.cast(tf.stack([number, seed[0], seed[1]]), tf.uint8)
        return tuple(tf.tile(values[None, None], [s, s, 1]) for s in self.sizes)

    def finish(self, crops, seeds):
        assert seeds.shape[1:] == (2,)
        return tuple(
            tf.cast(crop, tf.float32) + tf.cast(seeds[0, 0], tf.float32) * 0
            for crop in crops
        )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for i, size in enumerate(SIZES):
        pixels = np.full((*size, 3), i, np.uint8)
        PIL.Image.fromarray(pixels).save(root / f"{i}.png")
    source = minc_tf.data.load("folder", data_dir=root)
    assert source.varies
    assert source.image_shape == (None, None, 3)
    return source


def _rows(dataset, steps):
    """(image, seed, draw) of each row of the first view, batch by batch."""
    for views in dataset.take(steps).as_numpy_iterator():
        yield views[0][:, 0, 0].astype(int)


def test_images_come_as_they_are(source):
    stream = source.stream(tf.data.Dataset.range(N)).as_numpy_iterator()
    for i, example in enumerate(stream):
        wanted = np.full((*SIZES[i], 3), i)
        np.testing.assert_array_equal(example["image"], wanted)
        np.testing.assert_array_equal(source.at(i)["image"], wanted)
    assert "(None, None, 3)" in repr(source)
    assert source.subset(3).varies


def test_order_and_seeds_are_those_of_images_of_one_size(source):
    fixed = ArraySource(
        np.arange(N, dtype=np.uint8)[:, None, None, None]
        * np.ones((4, 4, 3), np.uint8)
    )

    def spy(batch):
        seeds = batch["augmentation_seed"]
        number = tf.cast(batch["images"][:, 0, 0, :1], tf.int64)
        rows = tf.concat([number, seeds], 1)[:, None, None]
        return rows, rows

    options = {"batch_size": 3, "seed": 5, "start_step": 2}
    pairs = zip(
        _rows(view_batches(fixed, spy, **options), 6),
        _rows(view_batches(source, _Views(), **options), 6),
        strict=True,
    )
    for expected, found in pairs:
        np.testing.assert_array_equal(expected, found)


def test_the_draw_does_not_depend_on_the_batch_size(source):
    streams = [
        np.concatenate(list(_rows(view_batches(source, _Views(), size), 8)))
        for size in (1, 3, 8)
    ]
    for stream in streams:
        np.testing.assert_array_equal(stream, streams[-1][: len(stream)])
    draws = streams[-1][:, 2]
    assert sorted(draws) == list(range(8 * N))
    np.testing.assert_array_equal(draws % N, streams[-1][:, 0])


def test_views_of_several_sizes(source):
    views = _Views((4, 4, 2, 2, 2))
    spec = view_batches(source, views, 3).element_spec
    shapes = [tuple(s.shape) for s in spec]
    assert shapes == [(3, 4, 4, 3)] * 2 + [(3, 2, 2, 3)] * 3


def test_views_that_cannot_crop(source):
    with pytest.raises(TypeError, match="crop and finish") as error:
        view_batches(source, lambda batch: (batch, batch), 3)
    message = str(error.value)
    assert f"{source.name}/train" in message
    assert "image_size" in message
    assert "\n" not in message
    with pytest.raises(TypeError, match="return a tuple of two or more"):
        view_batches(source, _Views((3,)), 3)


def test_the_views_of_the_library(source):
    """What the pipeline gives is `crop` and `finish` by hand."""
    config = augment.ViewConfig(blur_p=0.0, jitter_p=0.0)
    views = augment.MultiView([config, config], size=8)
    dataset = view_batches(source, views, 4, seed=3)
    numbers = _rows(view_batches(source, _Views(), 4, seed=3), 3)
    for found, rows in zip(dataset, numbers, strict=False):
        seeds = tf.constant(rows[:, 1:], tf.int64)
        crops = [
            views.crop(source.at(number)["image"], seed)
            for number, seed in zip(rows[:, 0], seeds, strict=True)
        ]
        crops = [tf.stack(view) for view in zip(*crops, strict=True)]
        for a, b in zip(found, views.finish(crops, seeds), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3)


class _Noise:
    """Views that tell each pixel of the image, and its seed."""

    def crop(self, image, seed):
        noise = tf.random.stateless_uniform((8, 8, 3), seed, 0, 99, tf.int32)
        image = tf.image.resize_with_crop_or_pad(image, 8, 8)
        return image + tf.cast(noise, tf.uint8), image

    def finish(self, crops, seeds):
        shift = tf.cast(tf.reshape(seeds[:, 1], (-1, 1, 1, 1)), tf.float32)
        return tuple(tf.cast(crop, tf.float32) + shift for crop in crops)

    def __call__(self, batch):
        seeds = batch["augmentation_seed"]
        crops = tf.map_fn(
            lambda pair: self.crop(*pair),
            (batch["images"], seeds),
            fn_output_signature=(tf.uint8, tf.uint8),
        )
        return self.finish(crops, seeds)


@pytest.mark.parametrize(
    ("varies", "batch_size", "num_shards"), [(False, 8, 4), (True, 6, 2)]
)
def test_shards_make_up_the_batch(source, varies, batch_size, num_shards):
    if not varies:
        pixels = np.random.default_rng(0).integers(0, 256, (11, 12, 12, 3))
        source = ArraySource(pixels.astype(np.uint8))
    options = {"batch_size": batch_size, "seed": 2, "start_step": 1}
    # The border of two epochs falls into a shard.
    whole = view_batches(source, _Noise(), **options).take(5)
    shards = [
        view_batches(
            source,
            _Noise(),
            num_shards=num_shards,
            shard=shard,
            **options,
        )
        for shard in range(num_shards)
    ]
    assert shards[0].element_spec[0].shape[0] == batch_size // num_shards
    for views, *parts in zip(whole, *shards, strict=False):
        for i, view in enumerate(views):
            joined = np.concatenate([part[i] for part in parts])
            np.testing.assert_array_equal(joined, view)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_shards": 3}, "num_shards=3; received 8, the nearest is 9"),
        ({"num_shards": 5}, "received 8, the nearest is 10"),
        ({"num_shards": 16}, "the nearest is 16"),
        ({"num_shards": 0}, "num_shards must be an int >= 1; received 0"),
        ({"num_shards": 2, "shard": 2}, "less than num_shards=2; received 2"),
        ({"shard": -1}, "shard must be an int >= 0"),
    ],
)
def test_bad_shards(source, options, message):
    with pytest.raises(ValueError, match=message):
        view_batches(source, _Views(), 8, **options)


def test_no_batch_waits_for_another_epoch(source):
    """Epochs of the stream are permutations, across their borders."""
    rows = _rows(view_batches(source, _Views(), 3), 8)
    numbers = list(itertools.chain.from_iterable(r[:, 0] for r in rows))
    for epoch in np.reshape(numbers, (3, N)):
        assert sorted(epoch) == list(range(N))
