"""Arrays in memory and `.npz` files."""

import numpy as np
import pytest

import minc_tf.data
from minc_tf.data import ArraySource, load_npz
from minc_tf.data.npz import read_npz

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (11, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(11) % 3


def _all(source, batch_size=4):
    batches = list(source.examples(batch_size).as_numpy_iterator())
    return {k: np.concatenate([b[k] for b in batches]) for k in batches[0]}


def test_examples_come_in_order_with_the_remainder():
    source = ArraySource(IMAGES, LABELS, class_names=["a", "b", "c"])
    found = _all(source)
    np.testing.assert_array_equal(found["image"], IMAGES)
    np.testing.assert_array_equal(found["label"], LABELS)
    np.testing.assert_array_equal(found["index"], np.arange(11))
    assert found["label"].dtype == found["index"].dtype == np.int64
    assert source.examples(4).element_spec["image"].shape[1:] == (6, 5, 3)
    assert source.class_names == ("a", "b", "c")


def test_at_equals_the_batch():
    source = ArraySource(IMAGES, LABELS)
    example = source.at(7)
    np.testing.assert_array_equal(example["image"], IMAGES[7])
    assert int(example["label"]) == LABELS[7]
    assert int(example["index"]) == 7


@pytest.mark.parametrize("extra", [(), (1,)])
def test_grey_becomes_rgb(extra):
    grey = IMAGES[..., 0].reshape(11, 6, 5, *extra)
    source = ArraySource(grey)
    assert source.image_shape == (6, 5, 3)
    for channel in range(3):
        np.testing.assert_array_equal(
            source.at(2)["image"][..., channel], IMAGES[2, ..., 0]
        )


def test_unlabelled():
    source = ArraySource(IMAGES)
    assert source.class_names is None
    assert source.num_classes == 0
    assert set(_all(source)["label"]) == {-1}
    assert source.subset(3).class_names is None


def test_the_callers_array_may_change():
    images = IMAGES.copy()
    source = ArraySource(images)
    images[:] = 0
    np.testing.assert_array_equal(source.images, IMAGES)


def test_subsets_are_seeded_and_nested():
    source = ArraySource(IMAGES, LABELS)
    small, large = source.subset(4, seed=5), source.subset(8, seed=5)
    np.testing.assert_array_equal(small.images, large.images[:4])
    np.testing.assert_array_equal(_all(small)["index"], np.arange(4))
    other = source.subset(8, seed=6)
    assert not np.array_equal(other.images, large.images)
    # Every image of the subset is one of the source, with its label.
    lookup = {i.tobytes(): n for i, n in zip(IMAGES, LABELS, strict=True)}
    for image, label in zip(large.images, large.labels, strict=True):
        assert lookup[image.tobytes()] == label
    with pytest.raises(ValueError, match=r"at most the 11 .*received 12"):
        source.subset(12)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (IMAGES / 255.0, TypeError, r"float64 in 0 to 1.*\(255 \* images\)"),
        (IMAGES.astype("float32"), TypeError, "in 0 to 255.*round"),
        (IMAGES / 100.0 - 1, TypeError, "undo the normalisation"),
        (IMAGES.astype("int64"), TypeError, r"int64 in 0 to 255.*astype"),
        (IMAGES.astype("int64") * 9, TypeError, "rescale to 0 to 255"),
        (IMAGES.astype(object), TypeError, "dtype object"),
        (IMAGES[0, 0], ValueError, r"received \(5, 3\)"),
        (IMAGES[..., :2], ValueError, r"received \(11, 6, 5, 2\)"),
        (IMAGES[:0], ValueError, "N >= 1"),
    ],
)
def test_bad_images(images, error, message):
    with pytest.raises(error, match=message):
        ArraySource(images)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (LABELS[:5], ValueError, r"shape \(11,\).*received \(5,\)"),
        (LABELS.astype(float), TypeError, "labels must be integers"),
        (LABELS + 1, ValueError, "num_classes - 1.* = 2; received.*1 to 3"),
        (LABELS - 2, ValueError, "from -2 to 0"),
    ],
)
def test_bad_labels(labels, error, message):
    with pytest.raises(error, match=message):
        ArraySource(IMAGES, labels, class_names=["a", "b", "c"])


def test_npz_with_two_splits(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(
        path,
        x_train=IMAGES,
        y_train=LABELS[:, None],
        x_test=IMAGES[:4],
        y_test=LABELS[:4],
    )
    train = minc_tf.data.load("npz", data_dir=path)
    test = minc_tf.data.load("npz", "test", data_dir=path)
    np.testing.assert_array_equal(train.images, IMAGES)
    np.testing.assert_array_equal(train.labels, LABELS)
    np.testing.assert_array_equal(test.images, IMAGES[:4])
    assert (test.name, test.split) == ("set", "test")
    with pytest.raises(ValueError, match=r"'x_valid' or 'images'.*x_test"):
        minc_tf.data.load("npz", "valid", data_dir=path)


def test_npz_with_one_split(tmp_path):
    np.savez(tmp_path / "test.npz", images=IMAGES)
    path = tmp_path / "test.npz"
    assert len(minc_tf.data.load("npz", data_dir=path)) == 11
    # In a folder the file's name is the split.
    source = minc_tf.data.load("npz", "test", data_dir=tmp_path)
    assert source.class_names is None
    # Asked for the test split, the training images must not come.
    with pytest.raises(ValueError, match=r"split must be 'train'.*'test'"):
        minc_tf.data.load("npz", "test", data_dir=path)


def test_npz_cap(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS)
    full = minc_tf.data.load("npz", data_dir=tmp_path / "a.npz")
    capped = minc_tf.data.load(
        "npz", data_dir=tmp_path / "a.npz", num_examples=5, seed=3
    )
    np.testing.assert_array_equal(capped.images, full.subset(5, 3).images)


def test_npz_never_unpickles(tmp_path):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("the file was unpickled",)

    path = tmp_path / "bad.npz"
    np.savez(path, images=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match=r"'images'.*never unpickled"):
        minc_tf.data.load("npz", data_dir=path)


def test_npz_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file.*gone.npz"):
        minc_tf.data.load("npz", data_dir=tmp_path / "gone.npz")
    path = tmp_path / "text.npz"
    path.write_text("hello")
    with pytest.raises(ValueError, match=r"text.npz' is not one"):
        minc_tf.data.load("npz", data_dir=path)
    np.save(tmp_path / "bare.npy", IMAGES)
    with pytest.raises(ValueError, match="one bare array"):
        minc_tf.data.load("npz", data_dir=tmp_path / "bare.npy")
    np.savez(tmp_path / "other.npz", pixels=IMAGES)
    with pytest.raises(ValueError, match="it holds pixels"):
        minc_tf.data.load("npz", data_dir=tmp_path / "other.npz")
    good = tmp_path / "good.npz"
    np.savez(good, images=IMAGES)
    cut = tmp_path / "cut.npz"
    cut.write_bytes(good.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"cut.npz"):
        minc_tf.data.load("npz", data_dir=cut)


def test_npz_is_not_resized(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES)
    path = tmp_path / "a.npz"
    minc_tf.data.load("npz", data_dir=path, image_size=(6, 5))
    with pytest.raises(ValueError, match=r"image_size must be None or \(6, 5"):
        minc_tf.data.load("npz", data_dir=path, image_size=32)


def test_arrays_without_tensorflow_are_those_of_the_source(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=IMAGES, y_train=LABELS[:, None])
    arrays = read_npz(tmp_path / "a.npz")
    assert (arrays.name, arrays.split) == ("a", "train")
    assert (len(arrays), arrays.image_shape) == (11, (6, 5, 3))
    source = load_npz(tmp_path / "a.npz").subset(5, seed=3)
    part = arrays.subset(5, seed=3)
    np.testing.assert_array_equal(part.images, source.images)
    np.testing.assert_array_equal(part.labels, source.labels)
    with pytest.raises(ValueError, match=r"at most the 11 examples of a/train"):
        arrays.subset(12)
