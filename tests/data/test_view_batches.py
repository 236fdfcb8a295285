"""The training stream: a pure function of seed and position."""

import io
import itertools

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import minc_tf.data
from minc_tf.data import ArraySource, EncodedSource, eval_batches, view_batches

N = 10
IMAGES = np.arange(N, dtype=np.uint8)[:, None, None, None] * np.ones(
    (1, 4, 4, 3), np.uint8
)


def _encoded():
    items = []
    for image in IMAGES:
        buffer = io.BytesIO()
        PIL.Image.fromarray(image).save(buffer, "PNG")
        items.append(buffer.getvalue())
    return EncodedSource(items, np.arange(N), (4, 4, 3), files=False)


def _sources():
    return [ArraySource(IMAGES, np.arange(N)), _encoded()]


def _spy(batch):
    """Return views that tell which image came, with which seed."""
    images = tf.cast(batch["images"], tf.float32)
    return images, tf.cast(batch["augmentation_seed"], tf.float32)


def _take(source, steps, batch_size=4, **options):
    dataset = view_batches(source, _spy, batch_size, **options)
    return [
        (images[:, 0, 0, 0].astype(int), seeds.astype(int))
        for images, seeds in dataset.take(steps).as_numpy_iterator()
    ]


@pytest.mark.parametrize("source", _sources(), ids=["arrays", "encoded"])
def test_order_is_index_shuffle_of_the_position(source):
    """Against TensorFlow's scalar function, one position at a time."""
    seen = _take(source, 8, seed=7)
    images = np.concatenate([images for images, _ in seen])
    seeds = np.concatenate([seeds for _, seeds in seen])
    for position in range(32):
        epoch, place = divmod(position, N)
        index = tf.random.experimental.index_shuffle(
            tf.constant(place, tf.int64),
            tf.constant([7, epoch], tf.int64),
            N - 1,
        )
        assert images[position] == int(index)
        assert seeds[position].tolist() == [7, epoch * N + int(index)]


def test_every_epoch_is_a_permutation_of_its_own():
    images = np.concatenate([i for i, _ in _take(_sources()[0], 15)])
    epochs = images.reshape(6, N)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(N))
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_the_seed_changes_the_order():
    orders = {
        tuple(np.concatenate([i for i, _ in _take(_sources()[0], 5, seed=s)]))
        for s in range(4)
    }
    assert len(orders) == 4


@pytest.mark.parametrize("source", _sources(), ids=["arrays", "encoded"])
@pytest.mark.parametrize("start", [1, 3, 61])
def test_start_step_resumes_the_stream(source, start):
    dataset = view_batches(source, _spy, 4, seed=1).skip(start).take(4)
    whole = list(dataset.as_numpy_iterator())
    resumed = view_batches(source, _spy, 4, seed=1, start_step=start).take(4)
    pairs = zip(whole, resumed.as_numpy_iterator(), strict=True)
    for expected, found in pairs:
        np.testing.assert_array_equal(expected[0], found[0])
        np.testing.assert_array_equal(expected[1], found[1])


def test_an_image_gets_the_same_draw_whatever_the_batch_size():
    for source in _sources():
        draws = []
        for batch_size in (2, 5, 10):
            seen = _take(source, 20 // batch_size, batch_size)
            draws.append(np.concatenate([seeds for _, seeds in seen]))
        np.testing.assert_array_equal(draws[0], draws[1])
        np.testing.assert_array_equal(draws[0], draws[2])
        assert len({tuple(d) for d in draws[0]}) == 20


def test_static_shapes_even_if_the_views_lose_them():
    def forgetful(batch):
        images = tf.cast(batch["images"], tf.float32)
        image = tf.numpy_function(lambda x: x, [images], tf.float32)
        image.set_shape([None, 4, 4, 3])
        return image, images, images[:, :2, :2]

    spec = view_batches(_sources()[0], forgetful, 4).element_spec
    assert [s.shape for s in spec] == [(4, 4, 4, 3)] * 2 + [(4, 2, 2, 3)]


def test_batch_of_the_whole_set_and_of_one_image():
    source = _sources()[0]
    ((images, _),) = _take(source, 1, N)
    np.testing.assert_array_equal(np.sort(images), np.arange(N))
    one = source.subset(1)
    assert len({int(i[0]) for i, _ in _take(one, 3, 1)}) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 11}, ValueError, "at most the 10 exam.*received 11"),
        ({"batch_size": 0}, ValueError, "batch_size must be an int >= 1"),
        ({"batch_size": "4"}, ValueError, "batch_size.*received '4'"),
        ({"seed": -1}, ValueError, "seed must be an int >= 0"),
        ({"start_step": -1}, ValueError, "start_step must be an int >= 0"),
        ({"views": "simclr"}, TypeError, "views must be a callable"),
        ({"views": lambda b: b["images"]}, TypeError, "return a tuple"),
    ],
)
def test_bad_arguments(options, error, message):
    options = {"views": _spy, "batch_size": 4} | options
    with pytest.raises(error, match=message):
        view_batches(_sources()[0], **options)


@pytest.mark.parametrize("source", _sources(), ids=["arrays", "encoded"])
def test_eval_batches(source):
    batches = list(eval_batches(source, 4).as_numpy_iterator())
    assert [len(b["label"]) for b in batches] == [4, 4, 2]
    assert set(batches[0]) == {"image", "label"}
    images = np.concatenate([b["image"] for b in batches])
    np.testing.assert_array_equal(images, IMAGES)
    assert images.dtype == np.uint8
    labels = itertools.chain(*(b["label"] for b in batches))
    assert list(labels) == list(range(N))
    with pytest.raises(ValueError, match="batch_size"):
        eval_batches(source, 0)


def test_unknown_name_and_split():
    with pytest.raises(ValueError, match="name must be a non-empty str"):
        minc_tf.data.load(None)
    with pytest.raises(ValueError, match="split must be a non-empty str"):
        minc_tf.data.load("shapes", 3)
