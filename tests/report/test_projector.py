"""TensorBoard's files, read as its plugin reads them."""

import re

import matplotlib.image
import numpy as np
import pytest
from google.protobuf import text_format
from tensorboard.backend.event_processing import (
    data_provider,
    event_accumulator,
    plugin_event_multiplexer,
)
from tensorboard.plugins import base_plugin
from tensorboard.plugins.projector import ProjectorConfig
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug.test import Client

from minc_tf import report


def read(path):
    """(config, tensors, lines of metadata or None, sprite) of a folder."""
    config = text_format.Parse(path.read_text(), ProjectorConfig())
    (entry,) = config.embeddings
    assert "/" not in entry.tensor_path + entry.sprite.image_path
    tensors = np.loadtxt(
        path.parent / entry.tensor_path, delimiter="\t", ndmin=2
    )
    names = None
    if entry.metadata_path:
        text = (path.parent / entry.metadata_path).read_text()
        names = text.splitlines()
    sprite = matplotlib.image.imread(path.parent / entry.sprite.image_path)
    return entry, tensors, names, np.rint(255 * sprite[..., :3])


def test_rows_names_and_images_belong_together(tmp_path, clusters):
    features, images, labels = clusters
    names = ("red", "light\tgreen\n", " ")
    path = report.write_projector(
        tmp_path / "points", features, images, labels, names
    )
    assert path.name == "projector_config.pbtxt"
    entry, tensors, found, sprite = read(path)
    assert list(entry.tensor_shape) == [60, 16] == list(tensors.shape)
    np.testing.assert_allclose(tensors, features, rtol=1e-5, atol=1e-5)
    # A single column has no head.
    readable = ("red", "light green", "class 2")
    assert found == [readable[label] for label in labels]
    assert list(entry.sprite.single_image_dim) == [8, 8]
    assert sprite.shape == (64, 64, 3)
    for index, image in enumerate(images):
        row, column = divmod(index, 8)
        tile = sprite[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        np.testing.assert_array_equal(tile, image)


def test_part_of_unlabelled_large_images(tmp_path):
    images = np.zeros((6, 100, 200, 3), np.uint8)
    features = np.arange(12.0).reshape(6, 2)
    path = report.write_projector(tmp_path, features, images, limit=4)
    entry, tensors, names, sprite = read(path)
    assert names is None
    assert tensors.shape == (4, 2)
    assert {tuple(row) for row in tensors} <= {tuple(r) for r in features}
    assert list(entry.sprite.single_image_dim) == [64, 64]
    assert sprite.shape == (128, 128, 3)


def test_some_labels(tmp_path, clusters):
    features, images, labels = clusters
    labels = np.where(np.arange(60) < 5, -1, labels)
    path = report.write_projector(tmp_path, features, images, labels)
    assert read(path)[2][4:6] == ["no label", "0"]


def test_bad_input(tmp_path, clusters):
    features, images, labels = clusters
    with pytest.raises(ValueError, match="finite"):
        report.write_projector(tmp_path / "a", features * np.nan, images)
    with pytest.raises(ValueError, match="below 1"):
        report.write_projector(tmp_path / "a", features, images, labels, "x")
    many = np.zeros((16_385, 64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match=re.escape("16384 images of 64")):
        report.write_projector(
            tmp_path / "a", np.zeros((16_385, 1)), many, limit=20_000
        )
    assert not (tmp_path / "a").exists()


def test_spectrum_becomes_a_picture(tmp_path):
    report.write_spectrum(tmp_path, [1.0, 0.1, 0.0], step=7)
    events = event_accumulator.EventAccumulator(
        str(tmp_path), size_guidance={"tensors": 0}
    ).Reload()
    (event,) = events.Tensors("spectrum")
    width, height, png = event.tensor_proto.string_val
    assert event.step == 7
    assert int(width) > int(height) > 200
    assert png.startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="1 NaN or infinite"):
        report.write_spectrum(tmp_path, [1.0, np.nan], step=8)


@pytest.mark.parametrize("below", [".", "events"])
def test_tensorboard_finds_it(tmp_path, clusters, below):
    """From the folder of a run or of its events, also after a move."""
    features, images, labels = clusters
    events = tmp_path / "run" / "events" / "embedding"
    report.write_spectrum(events, [1.0, 0.5], step=1)
    report.write_projector(events, features, images, labels)
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    logdir = str(moved / below)
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(logdir)
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, logdir)
    context = base_plugin.TBContext(logdir=logdir, data_provider=provider)
    apps = ProjectorPlugin(context).get_plugin_apps()

    def get(path, **arguments):
        return Client(apps[path]).get(path, query_string=arguments)

    (run,) = get("/runs").json
    assert run == ("events/embedding" if below == "." else "embedding")
    chosen = {"run": run, "name": "embedding"}
    tensors = np.frombuffer(get("/tensor", **chosen).data, np.float32)
    np.testing.assert_allclose(tensors.reshape(60, 16), features, rtol=1e-4)
    sprite = (moved / "events" / "embedding" / "sprite.png").read_bytes()
    assert get("/sprite_image", **chosen).data == sprite
    assert get("/metadata", **chosen).text.splitlines()[0] == "0"
