"""Subsets by a list of classes."""

import numpy as np
import pytest

import minc_tf.data
from minc_tf import training
from minc_tf.data import ArraySource, select_classes
from minc_tf.training import tensorflow_images

NAMES = ["ant", "bee", "cat", "dog"]
LABELS = np.array([3, 0, -1, 2, 0, 1, 3, 2])
IMAGES = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.ones(
    (1, 4, 4, 3), np.uint8
)
SOURCE = ArraySource(IMAGES, LABELS, class_names=NAMES)


def _images(source):
    (batch,) = source.examples(99).as_numpy_iterator()
    return batch["image"][:, 0, 0, 0].tolist(), batch["label"].tolist()


@pytest.mark.parametrize("classes", [["dog", "ant"], (3, 0), np.array([3, 0])])
def test_images_of_the_classes_in_the_order_given(classes):
    chosen = select_classes(SOURCE, classes)
    assert isinstance(chosen, ArraySource)
    assert chosen.class_names == ("dog", "ant")
    assert chosen.num_classes == 2
    assert chosen.labels.tolist() == [0, 1, 1, 0]
    assert _images(chosen) == ([0, 1, 4, 6], [0, 1, 1, 0])
    assert int(chosen.at(2)["label"]) == 1
    # The source itself stays as it was.
    assert SOURCE.class_names == tuple(NAMES)
    assert SOURCE.labels.tolist() == LABELS.tolist()


def test_subset_of_the_subset():
    chosen = select_classes(SOURCE, ["cat", "dog"]).subset(3, seed=1)
    images, labels = _images(chosen)
    assert [NAMES[LABELS[i]] for i in images] == [
        chosen.class_names[label] for label in labels
    ]


def test_names_from_a_file(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("cat\n\n bee \n")
    for given in (path, str(path)):
        chosen = select_classes(SOURCE, given)
        assert chosen.class_names == ("cat", "bee")
        assert _images(chosen)[0] == [3, 5, 7]


def test_load_caps_what_is_left():
    options = {"classes": ["star", "disk"], "seed": 2}
    full = minc_tf.data.load("shapes", "test", **options)
    assert full.class_names == ("star", "disk")
    assert len(full) == 400
    capped = minc_tf.data.load("shapes", "test", num_examples=30, **options)
    np.testing.assert_array_equal(capped.images, full.subset(30, 2).images)
    np.testing.assert_array_equal(capped.labels, full.subset(30, 2).labels)
    more = minc_tf.data.load("shapes", "test", num_examples=999, **options)
    assert len(more) == 400


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["dgo"], r"4 of arrays/train \('ant', .*'dgo'; did you mean 'dog'"),
        ([4], r"by name or number; received 4"),
        ([-1], r"received -1"),
        ([1.0], r"received 1.0"),
        ([], r"one or more names.*received \[\]"),
        (["ant", 0], r"each once; received \['ant', 0\]"),
    ],
)
def test_classes_that_are_none(classes, message):
    with pytest.raises(ValueError, match=message) as error:
        select_classes(SOURCE, classes)
    assert "\n" not in str(error.value)


def test_nothing_to_choose_from(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file 'cat'"):
        select_classes(SOURCE, "cat")
    with pytest.raises(ValueError, match=r"None for arrays/train, which has n"):
        select_classes(ArraySource(IMAGES), ["cat"])
    few = ArraySource(IMAGES[:2], LABELS[:2], class_names=NAMES)
    with pytest.raises(ValueError, match=r"there are none of 'cat', 'bee'"):
        select_classes(few, ["cat", "bee"])


def test_recipes_name_classes(tmp_path):
    images = np.zeros((30, 32, 32, 3), np.uint8)
    labels = np.arange(30) % 3
    np.savez(tmp_path / "train.npz", images=images, labels=labels)
    np.savez(tmp_path / "test.npz", images=images, labels=labels)
    config = training.default_config()
    config.batch_size = 8
    config.data.name, config.data.data_dir = "npz", str(tmp_path)
    for classes in (("2", "0"), [2, 0]):
        config.data.classes = classes
        training.validate(config)
        for source in tensorflow_images.load_sources(config):
            assert source.class_names == ("2", "0")
            assert len(source) == 20
