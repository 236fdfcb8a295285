"""Images held out of data that have no test split."""

import numpy as np
import pytest
from PIL import Image

import minc_tf
from minc_tf.training import tensorflow_images
from minc_tf.training.held_out import with_held_out
from minc_tf.training.validation import validate


@pytest.fixture
def photos(tmp_path):
    """60 pictures of two classes in folders, without folders of splits."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(30):
            pixels = rng.integers(0, 256, (32, 32, 3)).astype("uint8")
            path = tmp_path / "photos" / name / f"{index}.png"
            Image.fromarray(pixels).save(path)
    return tmp_path / "photos"


def config_of(path, **data):
    config = minc_tf.training.default_config()
    config.batch_size = 8
    config.data.name, config.data.data_dir = "folder", str(path)
    config.data.update(data)
    return config


def test_a_tenth_of_a_folder_without_splits(photos):
    config = with_held_out(config_of(photos))
    assert config.data.split == "train[:90%]"
    assert config.data.test_split == "train[90%:]"
    train, reference, test = tensorflow_images.load_sources(config)
    assert (len(train), len(reference), len(test)) == (54, 54, 6)
    assert np.bincount(test.labels).tolist() == [3, 3]
    # The settings that a run's folder has, and a second start.
    assert with_held_out(config) == config


def test_also_by_its_path_alone(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    config = config_of(photos, name="photos", data_dir=None)
    assert with_held_out(config).data.test_split == "train[90%:]"


def test_as_much_as_is_said(photos):
    config = with_held_out(config_of(photos, holdout=0.25))
    assert config.data.split == "train[:75%]"
    assert len(tensorflow_images.load_sources(config)[2]) == 15
    config = minc_tf.training.default_config()
    config.data.holdout = 0.2
    assert with_held_out(config).data.test_split == "train[80%:]"


def test_nothing_where_there_is_a_test_split(photos, tmp_path):
    for config in (
        minc_tf.training.default_config(),
        config_of(photos, holdout=0.0),
        config_of(photos, test_split=None),
        config_of(photos, split="train[:50%]", test_split="train[50%:]"),
    ):
        assert with_held_out(config) is config
    np.savez(tmp_path / "two.npz", x_train=[0], x_test=[0])
    np.savez(tmp_path / "one.npz", images=[0])
    config = config_of(tmp_path / "two.npz", name="npz")
    assert with_held_out(config) is config
    config = config_of(tmp_path / "one.npz", name="npz")
    assert with_held_out(config).data.test_split == "train[90%:]"
    (photos / "test").mkdir()
    config = config_of(photos)
    assert with_held_out(config) is config


@pytest.mark.parametrize("part", [-0.1, 1.0, "0.1"])
def test_a_part_that_is_none_is_refused(part):
    config = minc_tf.training.default_config()
    with config.ignore_type():
        config.data.holdout = part
    with pytest.raises(ValueError, match=r"config\.data\.holdout"):
        validate(config)


def test_a_slice_is_not_sliced_again(photos):
    with pytest.raises(ValueError, match="whole split"):
        validate(config_of(photos, split="train[:50%]", holdout=0.1))
