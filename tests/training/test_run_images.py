"""Runs on folders of images, good and bad."""

import logging

import numpy as np
import pytest
from PIL import Image

from minc_tf.training import inspect, run

from .conftest import tiny_config


def write_image(path, seed, size=(24, 24), mode="RGB"):
    """Writes a picture of noise in a mode of Pillow's."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


def write_classes(root, split, count, sizes=((24, 24),)):
    """Writes `count` pictures in each of two classes, of several sizes."""
    for label in ("ants", "bees"):
        for i in range(count):
            path = root / split / label / f"{i:02}.png"
            size = sizes[i % len(sizes)]
            write_image(path, seed=i + len(label), size=size)


def folder_config(root, **data):
    """Settings of one epoch on a folder, without labels."""
    config = tiny_config(epochs=1, batch_size=8, views={"size": 16})
    config.data.num_examples = None
    config.data.name, config.data.data_dir = "folder", str(root)
    for key, value in data.items():
        config.data[key] = value
    return config


def refused(config, tmp_path, error, *parts):
    """The run stops with a message that holds the parts, and leaves nothing."""
    with pytest.raises(error) as caught:
        run(config, tmp_path / "run")
    for part in parts:
        assert str(part) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # A run, traced.
def test_flat_folder_trains_and_counts_what_it_skips(tmp_path, caplog):
    """Sizes, grey, RGBA and a broken file; larger than the views; no labels."""
    root = tmp_path / "images"
    for i in range(10):
        write_image(root / f"{i}.png", i, size=((24, 24), (30, 40))[i % 2])
    write_image(root / "grey.png", 50, mode="L")
    write_image(root / "clear.png", 51, mode="RGBA")
    broken = root / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    config = folder_config(root, image_size=24, skip_bad=True)
    config.optimizer.name = "sgd"
    with caplog.at_level(logging.WARNING, "minc_tf"):
        summary = run(config, tmp_path / "run")
    assert summary["images"] == 12
    assert summary["skipped_images"] == 1
    assert summary["skipped"] == [str(broken)]
    assert "1 unreadable images skipped" in caplog.text
    # There is nothing to measure kNN with; neighbours are shown.
    assert "knn_accuracy" not in summary
    assert (tmp_path / "run" / "pictures" / "neighbours.png").exists()


def test_unreadable_image_is_named(tmp_path):
    root = tmp_path / "images"
    write_classes(root, "train", 4)
    broken = root / "train" / "ants" / "broken.jpg"
    broken.write_bytes(b"no picture")
    config = folder_config(root, image_size=24)
    refused(config, tmp_path, ValueError, "unreadable image", broken)


def test_missing_folder_leaves_no_run(tmp_path):
    config = folder_config(tmp_path / "imags")
    (tmp_path / "images").mkdir()
    refused(config, tmp_path, FileNotFoundError, tmp_path / "imags", "'images'")


def test_empty_class_folder_is_named(tmp_path):
    root = tmp_path / "images"
    write_classes(root, "train", 4)
    (root / "train" / "wasps").mkdir()
    refused(folder_config(root), tmp_path, ValueError, root / "train" / "wasps")


@pytest.mark.slow  # A run with its monitor, traced.
def test_images_of_mixed_sizes_are_cropped_as_they_are(tmp_path):
    root = tmp_path / "images"
    write_classes(root, "train", 20, sizes=((24, 24), (30, 40)))
    write_classes(root, "test", 4, sizes=((24, 24), (30, 40)))
    config = folder_config(root, test_split="test")
    summary = run(config, tmp_path / "run")
    assert np.isfinite(summary["loss"])
    assert 0 <= summary["knn_accuracy"] <= 1
    assert (tmp_path / "run/pictures/views.png").exists()
    report = inspect(config, tmp_path / "look", batches=1)
    assert report["data"]["image_shape"] == [None, None, 3]


def test_images_of_another_size_than_the_views(tmp_path):
    root = tmp_path / "images"
    write_classes(root, "train", 4)
    refused(
        folder_config(root),
        tmp_path,
        ValueError,
        "config.views.size=16 differs",
        "(24, 24)",
        "config.data.image_size",
    )


def test_batch_larger_than_the_folder(tmp_path):
    root = tmp_path / "images"
    write_classes(root, "train", 3)
    config = folder_config(root, image_size=16)
    refused(config, tmp_path, ValueError, "batch_size=8", "6 images")


def test_missing_test_split(tmp_path):
    root = tmp_path / "images"
    write_classes(root, "train", 4)
    config = folder_config(root, image_size=16, test_split="tset")
    refused(config, tmp_path, FileNotFoundError, "'tset'", "'train'")


def test_more_neighbours_than_images(tmp_path):
    root = tmp_path / "images"
    write_classes(root, "train", 4)
    write_classes(root, "test", 4)
    config = folder_config(root, image_size=16, test_split="test")
    config.monitor.k = 9
    refused(config, tmp_path, ValueError, "config.monitor.k=9", "8 images")
