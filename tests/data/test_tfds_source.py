"""TensorFlow Datasets, on small ones that the tests write."""

import io

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import minc_tf.data

CONFIGS = ("fixed", "mixed", "grey", "floats", "text")
COUNTS = {"train": 23, "test": 5}


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
                example["kind"] = ["odd", "even"][i % 2]
            yield i, example


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("tfds")
    for config in CONFIGS:
        builder = Tiny(config=config, data_dir=str(data_dir))
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(num_shards=3)
        )
    return data_dir


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
        ("tiny", version),
        ("anything", version),
        ("tiny", version.parent),
        ("tiny/fixed", str(data_dir)),
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


def test_mixed_sizes(data_dir):
    with pytest.raises(ValueError, match=r"6x6.*6x8|6x8.*6x6") as error:
        _load(data_dir, "mixed")
    assert "image_size=6" in str(error.value)
    source = _load(data_dir, "mixed", image_size=(6, 6))
    assert sorted(_numbers(source)[0]) == list(range(23))


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


def test_too_large_is_refused_before_reading(data_dir, monkeypatch):
    monkeypatch.setattr(
        minc_tf.data.tfds, "_read", lambda *_: pytest.fail("it was read")
    )
    with pytest.raises(ValueError, match=r"max_bytes.*received 100 ") as error:
        minc_tf.data.load_tfds("tiny/fixed", data_dir=data_dir, max_bytes=100)
    assert "num_examples=" in str(error.value)


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        ("fixed", {"split": "trian"}, r"'test', or a slice.*mean 'train'"),
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
