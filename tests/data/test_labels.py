"""The one door that all labels pass."""

import numpy as np
import pytest
import tensorflow as tf
from record_files import example, png, write_tfrecord

from minc_tf.data import ArraySource, EncodedSource, load_npz, load_records
from minc_tf.data.labels import as_labels, like_labels
from minc_tf.data.npz import read_npz

IMAGES = np.zeros((10, 4, 4, 3), np.uint8)
PNG = png(IMAGES[0])


def _npz(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0] * 9 + [10_000], ValueError, "at most 9999 for 10 images.*10000"),
        (np.full(10, 2**64 - 1, "uint64"), ValueError, "is -1 as uint64"),
        ([0] * 9 + [-2], ValueError, "values from -2 to 0"),
        (np.full(10, -56, "int8"), ValueError, "int8 ends at 127"),
        (np.zeros(10), TypeError, r"float64: pass labels.astype\('int64'\)"),
        (np.full(10, 0.7), TypeError, "that are no whole numbers"),
        (np.full(10, np.nan), TypeError, "with NaN: put -1 where"),
        (np.zeros(10, bool), TypeError, r"bool: pass labels.astype"),
        (["a"] * 10, TypeError, "number them, np.unique"),
        ([2**70] * 10, TypeError, "dtype object"),
        (np.eye(10, dtype=int), ValueError, "pass labels.argmax"),
        ([0] * 9, ValueError, r"received \(9,\)"),
    ],
)
def test_refused_by_every_source(labels, error, message):
    sources = (
        lambda: ArraySource(IMAGES, labels),
        lambda: EncodedSource([PNG] * 10, labels, (4, 4, 3), files=False),
    )
    for make in sources:
        with pytest.raises(error, match=message) as caught:
            make()
        assert "\n" not in str(caught.value)


def test_what_remains_possible():
    """ImageNet-21k, classes with names, and a column of Keras's files."""
    many = np.arange(21_841).repeat(2)
    assert as_labels(many, len(many)).max() == 21_840
    assert as_labels([21_840], 1, num_images=len(many)).tolist() == [21_840]
    names = [str(i) for i in range(21_841)]
    assert ArraySource(IMAGES[:1], [21_840], class_names=names).labels[0]
    assert ArraySource(IMAGES[:1], [9_999]).num_classes == 10_000
    column = np.arange(10, dtype="uint8")[:, None]
    assert ArraySource(IMAGES, column).labels.tolist() == list(range(10))
    assert ArraySource(IMAGES, [-1] * 10).num_classes == 0


def test_a_part_of_records_may_have_any_class_of_the_whole(tmp_path):
    labels = np.arange(10_050)
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [example(image=PNG, label=i) for i in labels])
    source = load_records("tfrecord", path, num_examples=20, seed=1)
    assert source.num_classes == source.labels.max() + 1
    assert source.labels.max() > 5_000


@pytest.mark.parametrize(
    ("arrays", "wrong"),
    [
        ({"images": 0, "label": 1}, "label"),
        ({"images": 0, "Labels": 1}, "Labels"),
        ({"images": 0, "y_train": 1}, "y_train"),
        ({"x_train": 0, "labels": 1}, "labels"),
        ({"x_train": 0, "Y_train": 1}, "Y_train"),
        ({"x_train": 0, "train_labels": 1}, "train_labels"),
        ({"x_train": 0, "targets": 1}, "targets"),
        ({"x_train": 0, "y": 1}, "y"),
    ],
)
def test_labels_of_another_name(tmp_path, arrays, wrong):
    values = {key: [IMAGES, np.zeros(10, int)][i] for key, i in arrays.items()}
    path = _npz(tmp_path, **values)
    for read in (load_npz, read_npz):
        with pytest.raises(ValueError, match=f"it has '{wrong}': ren") as error:
            read(path)
        assert str(path) in str(error.value)


def test_other_arrays_are_no_labels(tmp_path):
    path = _npz(
        tmp_path,
        x_train=IMAGES,
        x_test=IMAGES,
        y_test=np.zeros(10, int),
        class_names=np.array(["a"]),
        ids=np.arange(10),
    )
    assert load_npz(path).class_names is None
    assert load_npz(path, "test").num_classes == 1
    np.savez(path, Image=IMAGES)
    with pytest.raises(ValueError, match="holds Image"):
        load_npz(path)


def test_features_of_another_name(tmp_path):
    path = tmp_path / "a.tfrecord"
    for key in ("labels", "Label", "target", "image__label"):
        write_tfrecord(path, [example(**{"image": PNG, key: 1})])
        name = key.replace("__", "/")
        with pytest.raises(ValueError, match=f"they have '{name}': rename it"):
            load_records("tfrecord", path)
    write_tfrecord(path, [example(image=PNG, image__object__class__label=1)])
    assert load_records("tfrecord", path).class_names is None


def test_labels_of_large_record_files(tmp_path):
    """Read when they are asked for, through the same door."""
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, [example(image=PNG, label=i) for i in (0, -7)])
    for max_bytes in (0, 2**20):
        with pytest.raises(ValueError, match="values from -7 to 0"):
            load_records("tfrecord", path, max_bytes=max_bytes)


def test_names_like_labels():
    like = [
        "y",
        "Y_train",
        "labels",
        "label",
        "train-labels",
        "targets",
        "class_id",
        "gt",
    ]
    assert [name for name in like if like_labels([name]) != name] == []
    unlike = [
        "x",
        "x_train",
        "index",
        "ids",
        "class_names",
        "image",
        "filename",
        "year",
    ]
    assert like_labels(unlike) is None


def test_the_report_does_not_name_classes_by_value():
    from minc_tf.report.embedding import known_classes

    with pytest.raises(ValueError, match="renumber them"):
        known_classes([0, 10**9], None, 2)


def test_retrieval_of_any_label():
    """Numbers of products may be large: nothing is made for each."""
    from minc_tf.evaluation.protocols.retrieval import retrieval_metrics

    features = tf.random.stateless_normal([8, 3], [0, 1]).numpy()
    labels = np.array([0, 1, 2, 3] * 2)
    found = retrieval_metrics(features, labels, ks=[1])
    assert retrieval_metrics(features, labels * 10**12, ks=[1]) == found
