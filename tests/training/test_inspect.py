"""What a recipe feeds, looked at before training."""

import json

import numpy as np
import pytest
import tensorflow as tf

import minc_tf
from minc_tf.training import inspect, tensorflow_images

from .conftest import tiny_config


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("look")
    return inspect(tiny_config(), folder, batches=2, images=3)


def test_report_tells_of_images_and_classes(report):
    source = minc_tf.data.load("shapes", num_examples=64)
    assert report["data"] == {
        "name": "shapes",
        "split": "train",
        "images": 64,
        "image_shape": [32, 32, 3],
    }
    for label, name in enumerate(source.class_names):
        assert report["classes"][name] == np.sum(source.labels == label)
    assert report["skipped"] == []
    json.dumps(report)


def test_values_are_those_of_the_first_batch_of_training(report):
    config = tiny_config()
    views = tensorflow_images.build_views(config)
    source = tensorflow_images.load_train_source(config)
    first = next(iter(minc_tf.data.view_batches(source, views, 16)))
    for found, view in zip(report["views"], first, strict=True):
        assert found["shape"] == [16, 32, 32, 3]
        np.testing.assert_allclose(found["mean"], np.mean(view), rtol=1e-5)
        np.testing.assert_allclose(found["max"], np.max(view), rtol=1e-5)
        assert 0.0 <= found["min"] <= found["max"] <= 255.0


def test_speed_of_each_stage(report):
    assert set(report["images_per_second"]) == {"decode", "views"}
    assert min(report["images_per_second"].values()) > 0.0


def test_picture_has_a_column_an_image(report):
    picture = tf.io.decode_png(tf.io.read_file(report["picture"]))
    # Rows: the image and two views; pixels doubled, gaps of two.
    assert picture.shape == (2 * (3 * 34 + 2), 2 * (3 * 34 + 2), 3)


def test_settings_are_checked_first(tmp_path):
    config = tiny_config(batch_size=0)
    with pytest.raises(ValueError, match="batch_size"):
        inspect(config, tmp_path / "look")
    with pytest.raises(ValueError, match="batches must be an int >= 1"):
        inspect(tiny_config(), tmp_path / "look", batches=0)
    assert not (tmp_path / "look").exists()
