"""Files that no check found and that do not decode when their turn comes."""

import io

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from minc_tf.data import EncodedSource, load_folder, view_batches

N = 6
BAD = 2


def _contents(i, kind):
    pixels = np.full((12, 10 + i % 2, 3), 40 * i, np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _broken(kind):
    """Both ends as they should be, and nothing in between."""
    whole = _contents(BAD, kind)
    return whole[:30] + whole[-30:]


@pytest.fixture(params=["JPEG", "PNG"])
def kind(request):
    return request.param


@pytest.fixture
def image_size(kind):
    """As they are, and scaled: whatever the kind of files."""
    return {"JPEG": None, "PNG": 8}[kind]


@pytest.fixture
def root(tmp_path, kind):
    for i in range(N):
        contents = _broken(kind) if i == BAD else _contents(i, kind)
        (tmp_path / f"{i}.{kind.lower()}").write_bytes(contents)
    return tmp_path


class _Views:
    """Give the image's value and its seed, for either kind of source."""

    def __call__(self, batch):
        images = tf.cast(batch["images"][:, :1, :1, 0], tf.int64)
        draws = batch["augmentation_seed"][:, 1]
        return images, tf.reshape(draws, [-1, 1, 1])

    def crop(self, image, seed):
        return image[:1, :1, 0], tf.reshape(tf.cast(seed[1], tf.uint8), [1, 1])

    def finish(self, crops, seeds):
        return tuple(tf.cast(crop, tf.int64) for crop in crops)


def test_the_error_names_the_file(root, image_size):
    source = load_folder(root, image_size=image_size, check="header")
    assert source.varies == (image_size is None)
    (bad,) = root.glob(f"{BAD}.*")
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        for _ in view_batches(source, _Views(), 2).take(3):
            pass
    message = error.value.message
    (line,) = [line for line in message.splitlines() if str(bad) in line]
    assert "unreadable image" in line
    assert "skip_bad=True" in line
    with pytest.raises(ValueError, match="unreadable image") as error:
        source.at(BAD)
    assert str(bad) in str(error.value)
    assert "\n" not in str(error.value)


def test_skipped_images_are_replaced_and_reported(root, image_size):
    source = load_folder(
        root, image_size=image_size, check="header", skip_bad=True
    )
    assert source.skipped == []
    runs = []
    for batch_size in (2, 3):
        dataset = view_batches(source, _Views(), batch_size)
        views = list(dataset.take(2 * N // batch_size).as_numpy_iterator())
        runs.append(
            [np.concatenate(v).ravel() for v in zip(*views, strict=True)]
        )
        np.testing.assert_array_equal(runs[0], runs[-1])
    values, draws = runs[0]
    for epoch in range(2):
        rows = slice(epoch * N, (epoch + 1) * N)
        wanted = sorted(40 * i for i in [0, 1, BAD + 1, *range(BAD + 1, N)])
        np.testing.assert_allclose(sorted(values[rows]), wanted, atol=1)
    np.testing.assert_allclose(40 * (draws % N), values, atol=1)
    (bad,) = root.glob(f"{BAD}.*")
    assert source.skipped == [str(bad)]


def test_labels_follow_the_replacement(tmp_path):
    for i, name in enumerate("abc"):
        (tmp_path / name).mkdir()
        contents = _broken("PNG") if name == "c" else _contents(i, "PNG")
        (tmp_path / name / "0.png").write_bytes(contents)
    source = load_folder(tmp_path, image_size=4, check="header", skip_bad=True)
    (batch,) = source.examples(3).as_numpy_iterator()
    # After the last image comes the first.
    assert batch["label"].tolist() == batch["index"].tolist() == [0, 1, 0]
    np.testing.assert_array_equal(batch["image"][2], batch["image"][0])


def test_files_that_vanish(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(_contents(0, "PNG"))
    for skip_bad in (False, True):
        source = load_folder(
            tmp_path, image_size=4, check="header", skip_bad=skip_bad
        )
        source = source.subset(2)
        for path in tmp_path.glob("*"):
            path.rename(path.with_suffix(".gone"))
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"\d.png \("):
            list(source.examples(2))
        for path in tmp_path.glob("*"):
            path.rename(path.with_suffix(".png"))


def test_the_header_tells_most(tmp_path):
    for i in range(N):
        (tmp_path / f"{i}.jpg").write_bytes(_contents(i, "JPEG"))
    (tmp_path / "cut.jpg").write_bytes(_contents(0, "JPEG")[:-30])
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "zero.jpg").write_bytes(b"")
    # A PNG of another name, and a JPEG with something behind it, are good.
    (tmp_path / "x.jpg").write_bytes(_contents(0, "PNG"))
    (tmp_path / "y.jpg").write_bytes(_contents(0, "JPEG") + b"trailer")
    with pytest.raises(ValueError, match=r"cut.jpg' and 2 more of 11"):
        load_folder(tmp_path, check="header")
    source = load_folder(tmp_path, check="header", skip_bad=True)
    names = [str(tmp_path / f"{n}.jpg") for n in ("cut", "text", "zero")]
    assert source.skipped == names
    assert len(source) == N + 2
    assert sum(1 for _ in source.stream(tf.data.Dataset.range(N + 2))) == N + 2
    assert source.skipped == names


def test_auto_decodes_small_folders_only(root, monkeypatch):
    with pytest.raises(ValueError, match="unreadable image"):
        load_folder(root)
    monkeypatch.setattr("minc_tf.data.folder._MOST_DECODED", N - 1)
    source = load_folder(root)
    assert source.varies
    assert source.on_bad == "raise"
    assert load_folder(root, skip_bad=True).on_bad == "skip"


def test_encoded_bytes():
    items = [_contents(0, "JPEG"), _broken("JPEG"), _contents(2, "JPEG")]
    shape = (8, 8, 3)
    source = EncodedSource(items, None, shape, files=False, on_bad="raise")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"train#1 \("):
        list(source.examples(3))
    with pytest.raises(ValueError, match=r"train#1 \("):
        source.at(1)
    with pytest.raises(ValueError, match="on_bad must be one of None, 'raise'"):
        EncodedSource(items, None, shape, files=False, on_bad="ignore")


def test_small_images_are_scaled_up_to_the_size(tmp_path):
    for name, size in (("a", (1, 1)), ("b", (1, 10_000)), ("c", (3, 2))):
        image = PIL.Image.new("RGB", size, (9, 9, 9))
        image.save(tmp_path / f"{name}.png")
    (batch,) = load_folder(tmp_path, image_size=5).examples(3)
    np.testing.assert_array_equal(batch["image"], np.full((3, 5, 5, 3), 9))
