"""Folders of image files: what is found, decoded, resized and refused."""

import numpy as np
import PIL.Image
import pytest

import minc_tf.data

RNG = np.random.default_rng(1)


def _write(path, size=(8, 8), mode="RGB", value=None):
    """Write an image of `(height, width)` and return its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"RGB": 3, "RGBA": 4, "L": 1, "LA": 2}[mode]
    pixels = RNG.integers(0, 256, (*size, channels), dtype=np.uint8)
    if value is not None:
        pixels[:] = value
    image = PIL.Image.fromarray(pixels.squeeze(-1) if mode == "L" else pixels)
    image.save(path)
    return pixels


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "photos"
    for split, count in (("train", 3), ("test", 2)):
        for name in ("cat", "bee"):
            for i in range(count):
                _write(root / split / name / f"{i}.png")
    return root


def _load(path, split="train", **options):
    return minc_tf.data.load("folder", split, data_dir=path, **options)


def test_classes_and_files_come_sorted(tmp_path):
    wanted = {}
    for name in ("b/2.png", "b/10.PNG", "a/x.png", ".hidden/x.png"):
        wanted[name] = _write(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "a" / ".x.png").write_text("no image either")
    source = _load(tmp_path)
    assert source.class_names == ("a", "b")
    assert source.labels.tolist() == [0, 1, 1]
    (batch,) = source.examples(10).as_numpy_iterator()
    order = [wanted[n] for n in ("a/x.png", "b/10.PNG", "b/2.png")]
    np.testing.assert_array_equal(batch["image"], order)
    np.testing.assert_array_equal(batch["label"], [0, 1, 1])


def test_splits_and_jpeg(root):
    _write(root / "test" / "bee" / "9.JPEG")
    _write(root / "test" / "cat" / "9.jpg")
    test = _load(root, "test")
    assert (len(_load(root)), len(test)) == (6, 6)
    assert (test.name, test.split) == ("photos", "test")
    with PIL.Image.open(root / "test" / "bee" / "9.JPEG") as image:
        pixels = np.asarray(image).astype(int)
    # Two JPEG decoders may differ by rounding of the colour transform.
    assert np.abs(test.at(2)["image"].numpy() - pixels).mean() < 3


def test_unlabelled(tmp_path):
    pixels = _write(tmp_path / "1.png")
    source = _load(tmp_path)
    assert source.class_names is None
    assert int(source.at(0)["label"]) == -1
    np.testing.assert_array_equal(source.at(0)["image"], pixels)


def test_grey_and_transparent_become_rgb(tmp_path):
    wanted = []
    for i, mode in enumerate(("L", "LA", "RGB", "RGBA")):
        pixels = _write(tmp_path / f"{i}.png", mode=mode).astype(float)
        if mode.endswith("A"):
            alpha = pixels[..., -1:] / 255
            pixels = pixels[..., :-1] * alpha + 255 * (1 - alpha)
        wanted.append(np.broadcast_to(pixels, (8, 8, 3)))
    (batch,) = _load(tmp_path).examples(4).as_numpy_iterator()
    difference = np.abs(batch["image"] - np.array(wanted))
    assert difference.max() <= 0.5 + 1e-3


def test_mixed_sizes(root):
    _write(root / "train" / "cat" / "z.png", size=(12, 9))
    source = _load(root)
    assert source.image_shape == (None, None, 3)
    sizes = [source.at(i)["image"].shape for i in range(7)]
    assert sizes == [(8, 8, 3)] * 6 + [(12, 9, 3)]
    for act in (
        source.examples,
        lambda n: minc_tf.data.eval_batches(source, n),
    ):
        with pytest.raises(ValueError, match="differ in size") as error:
            act(4)
        assert "image_size must be set for photos/train" in str(error.value)
        assert "\n" not in str(error.value)
    source = _load(root, image_size=10)
    assert source.image_shape == (10, 10, 3)
    (batch,) = source.examples(99).as_numpy_iterator()
    assert batch["image"].shape == (7, 10, 10, 3)
    assert _load(root, image_size=(4, 6)).image_shape == (4, 6, 3)


@pytest.mark.parametrize("kind", ["text", "cut", "nothing"])
def test_unreadable_images(root, kind):
    bad = root / "train" / "bee" / "1.png"
    whole = bad.read_bytes()
    bad.write_bytes({"text": b"hello", "cut": whole[:80], "nothing": b""}[kind])
    (root / "train" / "cat" / "2.png").write_bytes(b"")
    with pytest.raises(ValueError, match="unreadable image") as error:
        _load(root)
    message = str(error.value)
    assert f"{str(bad)!r} and 1 more of 6" in message
    assert "skip_bad=True" in message
    assert "\n" not in message
    source = _load(root, skip_bad=True)
    assert source.skipped == [str(bad), str(root / "train" / "cat" / "2.png")]
    assert len(source) == 4
    assert source.labels.tolist() == [0, 0, 1, 1]
    assert source.subset(2).skipped == source.skipped


def test_nothing_but_unreadable_images(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(ValueError, match="nothing to skip"):
        _load(tmp_path, skip_bad=True)


def test_empty_class_folder(root):
    (root / "train" / "dog").mkdir()
    with pytest.raises(ValueError, match=r"class folder '.*dog' must hold im"):
        _load(root)
    _write(root / "train" / "dog" / "young" / "1.png")
    with pytest.raises(ValueError, match=r"only folders.*'young'"):
        _load(root)


def test_empty_folder(tmp_path):
    with pytest.raises(ValueError, match=r"it has neither$"):
        _load(tmp_path)
    (tmp_path / "labels.csv").write_text("file,label\na.png,x\n")
    with pytest.raises(ValueError, match=r"has neither, only 'labels.csv'"):
        _load(tmp_path)


def test_images_beside_classes(root):
    _write(root / "train" / "stray.png")
    with pytest.raises(ValueError, match=r"not both.*stray.png"):
        _load(root)


def test_missing_folder(root):
    with pytest.raises(FileNotFoundError, match="did you mean 'photos'"):
        _load(root.parent / "photo")
    with pytest.raises(FileNotFoundError, match="the path exists up to"):
        _load(root.parent / "x" / "y")
    with pytest.raises(ValueError, match="data_dir must be the path"):
        minc_tf.data.load("folder")


def test_missing_split(root):
    with pytest.raises(FileNotFoundError, match="did you mean 'train'") as e:
        _load(root, "trian")
    assert "'test', 'train'" in str(e.value)
    # Training images must not pass for a test set.
    with pytest.raises(FileNotFoundError, match="as a whole it is the split"):
        _load(root / "train", "test")


def test_cap_is_a_seeded_subset(root):
    full, capped = _load(root), _load(root, num_examples=4, seed=2)
    (a,) = full.subset(4, seed=2).examples(4).as_numpy_iterator()
    (b,) = capped.examples(4).as_numpy_iterator()
    np.testing.assert_array_equal(a["image"], b["image"])
    np.testing.assert_array_equal(a["label"], b["label"])


def test_other_formats_are_refused(root):
    heic = root / "train" / "bee" / "x.HEIC"
    heic.write_bytes(b"heic")
    (heic.parent / "y.jxl").write_bytes(b"jxl")
    with pytest.raises(ValueError, match=r"x.HEIC' cannot \(.heic files") as e:
        _load(root)
    assert "nor 1 .jxl more; or pass skip_bad=True" in str(e.value)
    assert "\n" not in str(e.value)
    source = _load(root, skip_bad=True)
    assert source.skipped == [str(heic), str(heic.parent / "y.jxl")]
    assert len(source) == 6


def test_label_file(tmp_path):
    wanted = [_write(tmp_path / f"{i}.png") for i in range(3)]
    table = tmp_path / "labels.csv"
    table.write_text('file,label\n2.png,"b, or c"\n0.png,a\n1.png,a\n')
    source = _load(tmp_path)
    assert source.class_names == ("a", "b, or c")
    assert source.labels.tolist() == [0, 0, 1]
    (batch,) = source.examples(3).as_numpy_iterator()
    np.testing.assert_array_equal(batch["image"], wanted)
    capped = _load(tmp_path, num_examples=2)
    np.testing.assert_array_equal(capped.labels, source.subset(2).labels)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "must begin with the line 'file,label'; it has 'none'"),
        (b"name,label\n0.png,a\n", "it has 'name,label'"),
        (b"file,label\n0.png\n", "row 2 is '0.png'"),
        (b"file,label\n0.png,\n", "row 2 is '0.png,'"),
        (b"file,label\n0.png,a\n0.png,b\n", "each file once; row 3"),
        (b"file,label\n0.png,a\n9.png,b\n", r"no image '9.png' \(1 of 2"),
        (b"file,label\n0.png,a\n", r"none for '1.png' \(1 of 2 images"),
        (b"file,label\n\xff.png,a\n", "must be UTF-8 text"),
    ],
)
def test_bad_label_file(tmp_path, table, message):
    for i in range(2):
        _write(tmp_path / f"{i}.png")
    (tmp_path / "labels.csv").write_bytes(table)
    with pytest.raises(ValueError, match=message) as error:
        _load(tmp_path)
    assert "labels.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_check(root):
    with pytest.raises(ValueError, match="check must be one of 'auto'"):
        minc_tf.data.load_folder(root, check="some")
