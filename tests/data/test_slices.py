"""Slices of splits: their share of each class, and nothing in common."""

import numpy as np
import pytest
from PIL import Image

import minc_tf
from minc_tf.data.npz import read_npz
from minc_tf.data.slices import stratified_order


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 pictures of one class and 10 of another, each of its own grey."""
    root = tmp_path_factory.mktemp("photos")
    for name, count in (("many", 40), ("few", 10)):
        (root / name).mkdir()
        for index in range(count):
            grey = index + (100 if name == "few" else 0)
            pixels = np.full((8, 8, 3), grey, np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:02}.png")
    return root


def greys(source):
    """What tells the images of a source apart."""
    images = [batch["image"].numpy() for batch in source.examples(16)]
    return np.concatenate(images)[:, 0, 0, 0].astype(int)


def test_slices_share_the_classes_and_no_image(folder):
    def load(split):
        return minc_tf.data.load(folder, split)

    train, test = load("train[:80%]"), load("train[80%:]")
    assert [len(train), len(test)] == [40, 10]
    assert np.bincount(test.labels).tolist() == [2, 8]
    together = np.concatenate([greys(train), greys(test)])
    assert sorted(together) == sorted(greys(load("train")))
    assert train.split == "train[:80%]"
    assert (greys(test) == greys(load("train[-20%:]"))).all()
    assert (greys(test) == greys(load("train[40:]"))).all()
    assert len(load("train[:]")) == 50


def test_an_npz_file_is_sliced_in_the_same_way(folder, tmp_path):
    source = minc_tf.data.load(folder)
    images = np.concatenate([b["image"].numpy() for b in source.examples(16)])
    path = tmp_path / "photos.npz"
    np.savez(path, images=images.astype("uint8"), labels=source.labels)
    expected = greys(minc_tf.data.load(folder, "train[20%:60%]"))
    found = read_npz(path, "train[20%:60%]")
    assert (found.images[:, 0, 0, 0] == expected).all()
    loaded = minc_tf.data.load(path, "train[20%:60%]", num_examples=7)
    assert len(loaded) == 7
    assert set(greys(loaded)) < set(expected)


def test_every_prefix_has_its_share():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    order = stratified_order(labels)
    assert sorted(order) == list(range(100))
    for count in range(1, 101):
        shares = np.bincount(labels[order[:count]], minlength=3)
        assert np.abs(shares - count * np.array([0.6, 0.3, 0.1])).max() <= 1.5


@pytest.mark.parametrize(
    "split, words",
    [
        ("train[:", "slice"),
        ("train[1:2:3]", "slice"),
        ("train[90:20]", "50"),
        ("[:10%]", "slice"),
    ],
)
def test_what_is_no_slice_is_named(folder, split, words):
    with pytest.raises(ValueError, match=words) as error:
        minc_tf.data.load(folder, split)
    assert repr(split) in str(error.value)
