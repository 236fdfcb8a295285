"""TensorFlow Datasets, on small ones that the tests write."""

import io
import pathlib
import shutil

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import minc_tf.data

CONFIGS = ("fixed", "mixed", "grey", "floats", "text")
COUNTS = {"train": 23, "test": 5, "unlabelled": 9}
FORMATS = ("tfrecord", "array_record")


def _image(i, size=(6, 6), channels=3):
    pixels = np.zeros((*size, channels), np.uint8)
    pixels[:] = i + 1
    pixels[0, 0] = 200
    return pixels


class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """PNG images whose brightness tells their number."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = tuple(
        tfds.core.BuilderConfig(name=name) for name in CONFIGS
    )

    def _info(self):
        image = {
            "fixed": tfds.features.Image(shape=(6, 6, 3)),
            "mixed": tfds.features.Image(shape=(None, None, 3)),
            "grey": tfds.features.Image(shape=(6, 6, 1)),
            "floats": tfds.features.Image(shape=(6, 6, 1), dtype=tf.float32),
            "text": tfds.features.Text(),
        }[self.builder_config.name]
        features = {"picture": image, "id": tf.int64}
        if self.builder_config.name != "grey":
            names = tfds.features.ClassLabel(names=["odd", "even"])
            features["kind"] = names
        keys = ("picture", "kind") if "kind" in features else None
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=keys,
        )

    def _split_generators(self, dl_manager):
        return {s: self._generate_examples(n) for s, n in COUNTS.items()}

    def _generate_examples(self, count):
        kind = self.builder_config.name
        for i in range(count):
            size = (6, 6 + 2 * (i % 2)) if kind == "mixed" else (6, 6)
            channels = 1 if kind in ("grey", "floats") else 3
            picture = _image(i, size, channels)
            if kind == "floats":
                picture = picture.astype(np.float32)
            if kind == "text":
                picture = "no picture"
            example = {"picture": picture, "id": i}
            if kind != "grey":
                labelled = count != COUNTS["unlabelled"]
                example["kind"] = ["odd", "even"][i % 2] if labelled else -1
            yield i, example


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("tfds")
    for config in CONFIGS:
        _prepare(data_dir, config)
    return data_dir


@pytest.fixture(scope="module", params=FORMATS)
def prepared(request, tmp_path_factory):
    """A folder of one of the formats that are read in place."""
    data_dir = tmp_path_factory.mktemp(request.param)
    for config in ("fixed", "mixed"):
        _prepare(data_dir, config, request.param)
    return data_dir


def _prepare(data_dir, config, file_format="tfrecord"):
    builder = Tiny(
        config=config, data_dir=str(data_dir), file_format=file_format
    )
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(num_shards=3)
    )


def _load(data_dir, config="fixed", split="train", **options):
    name = options.pop("name", f"tiny/{config}")
    return minc_tf.data.load(name, split, data_dir=data_dir, **options)


def _numbers(source):
    (batch,) = source.examples(99).as_numpy_iterator()
    return batch["image"][:, 1, 1, 0].astype(int) - 1, batch


def test_images_and_labels(data_dir):
    source = _load(data_dir)
    numbers, batch = _numbers(source)
    assert sorted(numbers) == list(range(23))
    for i, image, label in zip(
        numbers, batch["image"], batch["label"], strict=True
    ):
        np.testing.assert_array_equal(image, _image(i))
        assert label == i % 2
    assert source.class_names == ("odd", "even")
    assert source.image_shape == (6, 6, 3)
    assert (source.name, source.split) == ("tiny", "train")


def test_the_order_is_that_of_the_files(data_dir):
    """Against the shards, read one after another with nothing of tfds."""
    folder = data_dir / "tiny" / "fixed" / "1.0.0"
    shards = sorted(str(p) for p in folder.glob("tiny-train.tfrecord*"))
    assert len(shards) == 3
    ids = [
        tf.train.Example.FromString(record.numpy())
        .features.feature["id"]
        .int64_list.value[0]
        for record in tf.data.TFRecordDataset(shards)
    ]
    assert _numbers(_load(data_dir))[0].tolist() == ids


def test_every_way_to_name_a_prepared_folder(data_dir):
    wanted = _numbers(_load(data_dir))[0]
    version = data_dir / "tiny" / "fixed" / "1.0.0"
    for name, folder in (
        ("tfds:tiny/fixed", data_dir),
        ("tiny/fixed:1.0.0", data_dir),
        ("anything", version),
        ("tiny", str(version.parent)),
    ):
        found = _numbers(_load(folder, name=name))[0]
        np.testing.assert_array_equal(found, wanted)


def test_slices(data_dir):
    whole = _numbers(_load(data_dir))[0]
    first = _numbers(_load(data_dir, split="train[:40%]"))[0]
    rest = _numbers(_load(data_dir, split="train[40%:]"))[0]
    np.testing.assert_array_equal([*first, *rest], whole)
    assert len(_load(data_dir, split="train+test")) == 28


def test_cap_is_a_seeded_subset(data_dir):
    capped = _numbers(_load(data_dir, num_examples=7, seed=4))[0]
    subset = _numbers(_load(data_dir).subset(7, seed=4))[0]
    np.testing.assert_array_equal(capped, subset)
    assert len(_load(data_dir, num_examples=100)) == 23


def test_grey_and_unlabelled(data_dir):
    source = _load(data_dir, "grey")
    assert source.class_names is None
    numbers, batch = _numbers(source)
    assert sorted(numbers) == list(range(23))
    assert batch["image"].shape == (23, 6, 6, 3)
    assert set(batch["label"]) == {-1}


@pytest.mark.parametrize("max_bytes", [0, 2**30])
def test_mixed_sizes(prepared, max_bytes):
    options = {"data_dir": prepared, "max_bytes": max_bytes}
    source = minc_tf.data.load_tfds("tiny/mixed", **options)
    assert source.image_shape == (None, None, 3)
    for i in range(23):
        image = source.at(i)["image"].numpy()
        number = image[1, 1, 0] - 1
        np.testing.assert_array_equal(
            image, _image(number, (6, 6 + 2 * (number % 2)))
        )
    source = minc_tf.data.load_tfds("tiny/mixed", image_size=6, **options)
    assert source.image_shape == (6, 6, 3)
    assert sorted(_numbers(source)[0]) == list(range(23))


#: Which examples a split means does not depend on the format.
SPLITS = {
    "tfrecord": (
        "train[:90%]",
        "train[5:-2]",
        "train[30%:60%]+test",
        "train+train",
        "all",
    ),
    "array_record": ("unlabelled[1:]+train[20:]",),
}


@pytest.mark.parametrize(
    "prepared, split",
    [(kind, split) for kind, splits in SPLITS.items() for split in splits],
    indirect=["prepared"],
)
def test_records_equal_those_in_memory_and_tfdss_own(prepared, split):
    memory, records = (
        minc_tf.data.load_tfds(
            "tiny/fixed", split, data_dir=prepared, max_bytes=max_bytes
        )
        for max_bytes in (2**30, 0)
    )
    assert isinstance(memory, minc_tf.data.EncodedSource)
    assert isinstance(records, minc_tf.data.RecordSource)
    assert memory.image_shape == records.image_shape == (6, 6, 3)
    assert memory.class_names == records.class_names == ("odd", "even")
    examples = _tfds_examples(prepared, split)
    wanted = {
        "image": [example["picture"] for example in examples],
        "label": [example["kind"] for example in examples],
        "index": np.arange(len(examples)),
    }
    for source in (memory, records):
        _, batch = _numbers(source)
        for key, values in wanted.items():
            np.testing.assert_array_equal(batch[key], values)
        np.testing.assert_array_equal(source.labels, wanted["label"])


def _tfds_examples(data_dir, split):
    """The examples of a split as TensorFlow Datasets itself reads them."""
    folder = data_dir / "tiny" / "fixed" / "1.0.0"
    builder = tfds.builder_from_directory(folder)
    if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
        return list(builder.as_data_source(split))
    config = tfds.ReadConfig(interleave_cycle_length=1)
    dataset = builder.as_dataset(split=split, read_config=config)
    return list(dataset.as_numpy_iterator())


def test_labels_of_minus_one_are_none(prepared):
    for max_bytes in (0, 2**30):
        source = minc_tf.data.load_tfds(
            "tiny/fixed",
            "unlabelled",
            data_dir=prepared,
            max_bytes=max_bytes,
        )
        assert source.class_names is None
        assert set(_numbers(source)[1]["label"]) == {-1}
        assert source.labels.tolist() == [-1] * 9


def test_classes_of_records(prepared):
    for max_bytes in (0, 2**30):
        source = minc_tf.data.load_tfds(
            "tiny/fixed",
            "train+unlabelled",
            data_dir=prepared,
            max_bytes=max_bytes,
        )
        chosen = minc_tf.data.select_classes(source, ["even"])
        assert type(chosen) is type(source)
        numbers, batch = _numbers(chosen)
        assert sorted(numbers) == list(range(1, 23, 2))
        assert set(batch["label"]) == set(chosen.labels) == {0}
        assert chosen.class_names == ("even",)
        assert set(_numbers(chosen.subset(4))[1]["label"]) == {0}


def test_shards_that_do_not_fit_the_description(tmp_path):
    _prepare(tmp_path, "fixed")
    folder = tmp_path / "tiny" / "fixed" / "1.0.0"
    first, second, _ = sorted(folder.glob("tiny-train.tfrecord*"))
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"00000-of-00003' is truncated"):
        _load(tmp_path)
    first.write_bytes(second.read_bytes() * 2)
    second.write_bytes(b"")
    with pytest.raises(ValueError, match=r"00001-of-00003' must hold at least"):
        _load(tmp_path)
    second.unlink()
    with pytest.raises(FileNotFoundError, match="00001-of-00003"):
        _load(tmp_path)


def test_other_formats_are_refused(data_dir, monkeypatch):
    monkeypatch.setattr(
        tfds.core.DatasetInfo,
        "file_format",
        property(lambda _: tfds.core.FileFormat.RIEGELI),
    )
    with pytest.raises(ValueError, match=r"tfrecord or array_record.*riegeli"):
        _load(data_dir)


def test_unreadable_image(data_dir, tmp_path):
    class Broken(Tiny, skip_registration=True):
        """One file is no image; a path keeps its bytes."""

        def _generate_examples(self, count):
            for i in range(count):
                path = tmp_path / f"{i}.png"
                buffer = io.BytesIO()
                PIL.Image.fromarray(_image(i)).save(buffer, "PNG")
                path.write_bytes(buffer.getvalue()[: 60 if i == 3 else None])
                yield i, {"picture": str(path), "id": i, "kind": "odd"}

    folder = tmp_path / "data"
    folder.mkdir()
    broken = Broken(config="mixed", data_dir=str(folder))
    broken.download_and_prepare()
    with pytest.raises(ValueError, match=r"unreadable image 'train#\d+' of 23"):
        _load(folder, name="broken/mixed")
    source = _load(folder, name="broken/mixed", skip_bad=True)
    assert len(source.skipped) == 1
    assert sorted(_numbers(source)[0]) == [i for i in range(23) if i != 3]


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ("fixed", {"split": "trian"}, r"'unlabelled', or a sl.*mean 'train'"),
        ("fixed", {"split": "train[:x%]"}, r"split must be a name or a slice"),
        ("fixed", {"split": "train[:0]"}, r"at least one example"),
        ("fixed", {"name": "tiny"}, r"which config.*'fixed', 'floats'"),
        ("fixed", {"name": "shaps"}, r"not known there.*mean 'shapes'"),
        ("fixed", {"image_size": 0}, r"image_size must be.*received 0"),
        ("floats", {}, r"8- or 16-bit images.*float32"),
        ("text", {}, r"with an image feature.*id, kind, picture"),
    ],
)
def test_bad_arguments(data_dir, config, options, message):
    with pytest.raises(ValueError, match=message) as error:
        _load(data_dir, config, **options)
    assert "\n" not in str(error.value)


def test_missing_folder(data_dir):
    with pytest.raises(FileNotFoundError, match="data_dir must be an existing"):
        _load(data_dir / "gone")


@pytest.fixture
def offline(monkeypatch):
    """No network, and no proxy; the names of servers are asked for."""
    asked = []

    def refuse(place, *_):
        asked.append(place[0])
        raise OSError("there is no network")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    return asked


def _below(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


def test_prepared_data_are_found_below_the_folder(data_dir, tmp_path):
    wanted = _numbers(_load(data_dir))[0]
    folder = tmp_path / "above"
    shutil.copytree(data_dir, folder / "sets")
    for name in ("tiny/fixed", "tfds:tiny/fixed", "tiny/fixed:1.*.*"):
        np.testing.assert_array_equal(
            _numbers(_load(folder, name=name))[0], wanted
        )
    found = _load(data_dir / "tiny", name="tiny/fixed")
    np.testing.assert_array_equal(_numbers(found)[0], wanted)
    with pytest.raises(ValueError, match=r"which config.*'fixed', 'floats'"):
        _load(folder, name="tiny")


def test_what_was_found_instead_is_named(data_dir, offline):
    before = _below(data_dir)
    for name in ("tinny", "tiny/fixed:2.0.0"):
        with pytest.raises(
            ValueError, match=r"prepared there: 'tiny/fixed:1.0"
        ):
            _load(data_dir, name=name)
    # It has a builder, and its server cannot be reached.
    with pytest.raises(ValueError, match="set data_dir to a folder") as error:
        _load(data_dir, name="cifar10")
    assert "cannot be reached" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"holds other things \(prepared the"):
        _load(data_dir / "tiny", name="cifar10")
    assert _below(data_dir) == before
    assert offline == ["www.cs.toronto.edu"]


def test_a_folder_of_something_else_is_not_filled(tmp_path, offline):
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(ValueError, match=r"other things \(such as 'photo.jpg'"):
        _load(tmp_path, name="cifar10")
    assert (_below(tmp_path), offline) == ([pathlib.Path("photo.jpg")], [])


@pytest.mark.parametrize("error", [OSError, AssertionError, KeyboardInterrupt])
def test_a_download_that_fails_leaves_nothing(tmp_path, monkeypatch, error):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "whole.zip").write_text("of before")
    before = _below(tmp_path)

    def fail(builder, **_):
        half = tmp_path / "downloads" / "a.zip.tmp.123"
        for folder in (half, tmp_path / "cifar10" / "incomplete.X_3.0.2"):
            folder.mkdir(parents=True)
            (folder / "part").write_text("half")
        raise error("line one\nline two")

    monkeypatch.setattr("minc_tf.data.download._check_network", lambda _: None)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    caught = error if error is KeyboardInterrupt else ValueError
    with pytest.raises(caught) as found:
        _load(tmp_path, name="cifar10")
    if caught is ValueError:
        assert f"{error.__name__}: line one line two" in str(found.value)
        assert "\n" not in str(found.value)
    assert _below(tmp_path) == before


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize(
    "contents", [b"", b'{"name": "ti', b"\xff\xfe", b"[1]", b'{"name": [3]}']
)
def test_damaged_description(data_dir, tmp_path, file, contents):
    folder = tmp_path / "tiny" / "fixed" / "1.0.0"
    shutil.copytree(data_dir / "tiny" / "fixed" / "1.0.0", folder)
    (folder / file).write_bytes(contents)
    for place in (folder, tmp_path):
        with pytest.raises(ValueError, match=r"\.json' ") as error:
            _load(place)
        assert str(folder) in str(error.value)
        assert "\n" not in str(error.value)


def test_damaged_record(tmp_path):
    _prepare(tmp_path, "fixed")
    folder = tmp_path / "tiny" / "fixed" / "1.0.0"
    shard = min(folder.glob("tiny-train.tfrecord*"))
    contents = bytearray(shard.read_bytes())
    contents[60] ^= 1
    shard.write_bytes(contents)
    with pytest.raises(ValueError, match=r"00000-of-00003' is damaged: rec"):
        _load(tmp_path)


def test_classes_are_not_named_by_value(data_dir, tmp_path):
    folder = tmp_path / "tiny" / "fixed" / "1.0.0"
    shutil.copytree(data_dir / "tiny" / "fixed" / "1.0.0", folder)
    (folder / "kind.labels.txt").unlink()
    features = folder / "features.json"
    text = features.read_text().replace(
        '"numClasses": "2"', '"numClasses": "9999999999"'
    )
    features.write_text(text)
    with pytest.raises(ValueError, match="received 9999999998: renumber them"):
        _load(tmp_path)


def test_images_of_too_many_pixels(data_dir):
    for max_bytes in (0, 2**20):
        with pytest.raises(ValueError, match="too large: 6 x 6 pixels, more"):
            minc_tf.data.load_tfds(
                "tiny/fixed",
                data_dir=data_dir,
                max_pixels=35,
                max_bytes=max_bytes,
            ).at(0)
