"""The source over record files, and plain files of examples."""

import numpy as np
import pytest
import tensorflow as tf
from record_files import (
    FORMATS,
    IMAGES,
    LABELS,
    READERS,
    RECORDS,
    SUFFIXES,
    WRITERS,
    N,
    example,
    png,
    write_shards,
    write_tfrecord,
)

import minc_tf.data
from minc_tf.data import EncodedSource, RecordSource, view_batches
from minc_tf.data.records.readers import Shard


def _load(kind, path, split="train", **options):
    return minc_tf.data.load(kind, split, data_dir=path, **options)


def _all(source, batch_size=32):
    batches = list(source.examples(batch_size).as_numpy_iterator())
    return {k: np.concatenate([b[k] for b in batches]) for k in batches[0]}


def _assert_equal(found, expected):
    found, expected = _all(found), _all(expected)
    assert found.keys() == expected.keys()
    for key in found:
        np.testing.assert_array_equal(found[key], expected[key])


@pytest.fixture(params=list(WRITERS))
def reader(request, tmp_path):
    """Of both formats, or of the one that a test names."""
    paths = write_shards(tmp_path, request.param, RECORDS)
    return READERS[request.param]([Shard(path) for path in paths])


def _pair(reader, shape=(6, 8, 3)):
    names = ["a", "b", "c", "d"]
    items = [png(image) for image in IMAGES]
    return (
        RecordSource(reader, shape, label_key="label", class_names=names),
        EncodedSource(items, LABELS, shape, files=False, class_names=names),
    )


@pytest.mark.parametrize("shape", [(6, 8, 3), (5, 5, 3)])
def test_source_equals_that_in_memory(reader, shape):
    records, memory = _pair(reader, shape)
    assert records.class_names == memory.class_names
    assert records.image_shape == shape
    assert len(records) == N
    spec = records.examples(7).element_spec
    assert spec["image"].shape.as_list() == [None, *shape]
    _assert_equal(records, memory)
    for index in (0, 77, N - 1):
        found, expected = records.at(index), memory.at(index)
        for key in expected:
            np.testing.assert_array_equal(found[key], expected[key])
            assert found[key].dtype == expected[key].dtype
            assert found[key].shape == expected[key].shape


def test_labels_are_read_when_asked_for(reader):
    records, _ = _pair(reader)
    assert "labels" not in vars(records)
    assert "labels" not in vars(records.subset(20))
    assert len(_all(records)["label"]) == N
    assert "labels" not in vars(records)
    np.testing.assert_array_equal(records.labels, LABELS)
    assert records.labels.dtype == np.int64


@pytest.mark.parametrize("reader", ["tfrecord"], indirect=True)
def test_subsets_equal_those_in_memory(reader):
    records, memory = _pair(reader)
    for read in (False, True):
        found, expected = records.subset(60, 4), memory.subset(60, 4)
        _assert_equal(found, expected)
        np.testing.assert_array_equal(found.labels, expected.labels)
        if not read:
            assert len(records.labels) == N  # from now on they are known
    _assert_equal(found.subset(9, 2), expected.subset(9, 2))


@pytest.mark.parametrize("reader", ["arrayrecord"], indirect=True)
def test_views_equal_those_in_memory(reader):
    """Bitwise, in the order of a shuffled stream that is resumed too."""

    def views(batch):
        images = tf.cast(batch["images"], tf.float32)
        noise = tf.map_fn(
            lambda seed: tf.random.stateless_uniform([6, 8, 3], seed),
            batch["augmentation_seed"],
            fn_output_signature=tf.float32,
        )
        return images + noise, images - noise

    for start in (0, 3):
        streams = [
            view_batches(source, views, 64, seed=5, start_step=start).take(6)
            for source in _pair(reader)
        ]
        for found, expected in zip(*streams, strict=True):
            np.testing.assert_array_equal(found, expected)


class _Crops:
    """Views of images of any size."""

    def crop(self, image, seed):
        patch = tf.image.stateless_random_crop(image, (3, 3, 3), seed)
        return patch, image[:3, :3]

    def finish(self, crops, seeds):
        shift = tf.cast(seeds[:, :1, tf.newaxis, tf.newaxis], tf.float32)
        return tuple(tf.cast(crop, tf.float32) + shift for crop in crops)

    def __call__(self, batch):
        raise NotImplementedError


def test_varying_sizes(tmp_path):
    images = [IMAGES[i][:, : 4 + i % 3] for i in range(9)]
    records = [example(image=png(i), label=1) for i in images]
    write_tfrecord(tmp_path / "a.tfrecord", records)
    streams = []
    for max_bytes in (0, 2**30):
        source = minc_tf.data.load_records(
            "tfrecord", tmp_path, max_bytes=max_bytes
        )
        assert source.image_shape == (None, None, 3)
        stream = source.stream(tf.data.Dataset.range(9))
        for i, found in enumerate(stream):
            np.testing.assert_array_equal(found["image"], images[i])
            np.testing.assert_array_equal(source.at(i)["image"], images[i])
            assert int(source.at(i)["label"]) == int(found["label"]) == 1
        assert i == 8
        streams.append(view_batches(source, _Crops(), 6, seed=2).take(4))
        with pytest.raises(ValueError, match="image_size must be set"):
            source.examples(4)
    for found, expected in zip(*streams, strict=True):
        np.testing.assert_array_equal(found, expected)


@FORMATS
def test_load_plain_files(kind, tmp_path):
    write_shards(tmp_path, kind, RECORDS)
    write_shards(tmp_path, kind, RECORDS[:8], split="test")
    (tmp_path / "features.json").write_text("{}")
    memory = _load(kind, tmp_path)
    assert isinstance(memory, EncodedSource)
    assert memory.image_shape == (6, 8, 3)
    assert memory.class_names == ("0", "1", "2", "3")
    assert (memory.name, memory.split) == (tmp_path.name, "train")
    found = _all(memory)
    np.testing.assert_array_equal(found["image"], IMAGES)
    np.testing.assert_array_equal(found["label"], LABELS)
    options = {"num_examples": 12, "seed": 7}
    memory = _load(kind, tmp_path, image_size=(6, 8), **options)
    records = minc_tf.data.load_records(
        kind, tmp_path, image_size=(6, 8), max_bytes=0, **options
    )
    assert isinstance(records, RecordSource)
    assert records.class_names == memory.class_names
    _assert_equal(records, memory)
    pattern = tmp_path / f"set*{SUFFIXES[kind]}*"
    _assert_equal(_load(kind, pattern, image_size=(6, 8), **options), memory)
    assert len(_load(kind, pattern, "test")) == 8
    assert len(_load(kind, tmp_path, "test")) == 8


def test_which_files_are_a_split(tmp_path):
    def write(name, count):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        write_tfrecord(path, RECORDS[:count])

    write("slim/validation-00000-of-00001", 1)
    write("slim/train-00000-of-00001", 2)
    write("inner/train/0.tfrecords", 3)
    write("inner/test/0.tfrecords", 4)
    write("bare/x.tfrec", 5)
    write("bare/.hidden.tfrec", 9)
    write("bare/y.array_record", 9)
    for path, split, count in (
        ("slim", "train", 2),
        ("slim", "validation", 1),
        ("inner", "train", 3),
        ("inner", "test", 4),
        ("bare", "train", 5),
        ("bare/x.tfrec", "train", 5),
        ("slim/validation-00000-of-00001", "validation", 1),
    ):
        assert len(_load("tfrecord", tmp_path / path, split)) == count
    for path, split, message in (
        ("slim", "val", r"one of 'train', 'validation'.*received 'val'"),
        ("bare", "test", r"split must be one of 'train'"),
        ("slim/validation-00000-of-00001", "train", "one of 'validation'"),
        ("gone", "train", r"file, folder or pattern for name='tfrecord'.*gone"),
        ("inner", "validation", "must be a folder of record files"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            _load("tfrecord", tmp_path / path, split)
    with pytest.raises(ValueError, match=r"path of the record files.*None"):
        minc_tf.data.load("tfrecord")


def test_other_names_of_the_features(tmp_path):
    path = tmp_path / "a.tfrecord"
    image = png(IMAGES[0])
    write_tfrecord(path, [example(image__encoded=image, image__class__label=2)])
    assert _load("tfrecord", path).labels.tolist() == [2]
    write_tfrecord(path, [example(image__encoded=image)])
    source = _load("tfrecord", path)
    assert source.class_names is None
    assert int(source.at(0)["label"]) == -1


@pytest.mark.parametrize("max_bytes", [0, 2**30])
def test_labels_of_some_records(tmp_path, max_bytes):
    image, path = png(IMAGES[0]), tmp_path / "a.tfrecord"
    records = [example(image=image), example(image=image, label=1)]
    options = {"image_size": (6, 8), "max_bytes": max_bytes}
    write_tfrecord(path, records)
    source = minc_tf.data.load_records("tfrecord", path, **options)
    assert _all(source)["label"].tolist() == [-1, 1]
    assert source.class_names == ("0", "1")
    write_tfrecord(path, [example(image=image, label=-1)] * 3)
    source = minc_tf.data.load_records("tfrecord", path, **options)
    assert source.class_names is None
    assert source.labels.tolist() == [-1, -1, -1]
    assert _all(source)["label"].tolist() == [-1, -1, -1]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (example(pixels=b"x", id=3), r"have id \(int64_list\), pixels"),
        (example(image=3), r"'image' must be a bytes_list.*int64_list"),
        (example(image=b"x", label=b"cat"), r"'label' must be a int64_list"),
        (example(image=b"x", label=1.0), r"'label' must be a int64_list"),
        (b"", r"have none"),
        (b"\x0b\xff\xff", r"must be serialized tf.train.Example"),
        (example(image=b"x"), r"unreadable image 'train#0'"),
        (None, r"at least one record; .*a\.tfrecord' hold none"),
    ],
    ids=lambda value: value if isinstance(value, str) else "record",
)
def test_examples_without_an_image(tmp_path, record, message):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [] if record is None else [record])
    with pytest.raises(ValueError, match=message) as error:
        _load("tfrecord", path)
    assert "\n" not in str(error.value)


def _with_bad_images(path):
    records = RECORDS[:20]
    records[4] = example(image=b"no image", label=3)
    records[9] = example(image=png(IMAGES[9])[:90], label=3)
    write_tfrecord(path, records)


def test_skip_bad_in_memory(tmp_path):
    _with_bad_images(tmp_path / "a.tfrecord")
    source = _load("tfrecord", tmp_path, skip_bad=True)
    assert source.skipped == ["train#4", "train#9"]
    good = [i for i in range(20) if i not in (4, 9)]
    np.testing.assert_array_equal(_all(source)["image"], IMAGES[good])
    np.testing.assert_array_equal(_all(source)["label"], LABELS[good])
    assert source.subset(3).skipped == source.skipped


def test_skip_bad_on_disk(tmp_path):
    """The next image takes the place, with its label and index."""
    _with_bad_images(tmp_path / "a.tfrecord")
    options = {"image_size": (6, 8), "max_bytes": 0}
    source = minc_tf.data.load_records(
        "tfrecord", tmp_path, skip_bad=True, **options
    )
    assert source.skipped == []
    found = _all(source)
    order = [{4: 5, 9: 10}.get(i, i) for i in range(20)]
    np.testing.assert_array_equal(found["image"], IMAGES[order])
    np.testing.assert_array_equal(found["label"], LABELS[order])
    np.testing.assert_array_equal(found["index"], order)
    assert sorted(source.skipped) == ["train#4", "train#9"]
    source = minc_tf.data.load_records("tfrecord", tmp_path, **options)
    with pytest.raises(tf.errors.OpError, match=r"unreadable image .*train#4"):
        _all(source)
    with pytest.raises(ValueError, match=r"unreadable image .*train#9"):
        source.at(9)
