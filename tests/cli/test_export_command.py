"""`minc-export`: what becomes of a run, options, mistakes."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from minc_tf import data, training
from minc_tf.export import read_manifest
from minc_tf.training.workdir import Workdir

from .test_errors import assert_refused

DIM = 8


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run that was evaluated."""
    config = training.default_config()
    config.update(epochs=1, batch_size=16)
    config.data.num_examples = 32
    config.data.test_split = "train"
    config.encoder.filters = (8,)
    config.projector.widths = (16, DIM)
    config.objective.dim = DIM
    config.monitor.k = 5
    config.diagnostics.every, config.diagnostics.alarm = 0, "off"
    config.report.num_examples = 0
    # XLA would compile it for a second or two.
    config.views.jitter_p = config.views.grey_p = 0.0
    folder = tmp_path_factory.mktemp("run") / "run"
    training.run(config, folder, verbose=0)
    record = {"output": "features", "results": {"linear_accuracy": 0.5}}
    Workdir(folder).evaluation.write_text(json.dumps([record]))
    return folder


def test_export_with_options(command, workdir, tmp_path):
    flags = [
        f"--workdir={workdir}",
        "--name=tiny",
        f"--savedmodels={tmp_path}",
        "--dims=3",
        "--normalize",
        "--max_pixels=2000",
        "--value_range=0,1",
    ]
    result = command("export", *flags)
    assert result.code == 0, result.err
    assert result.out == f"{tmp_path}/tiny/1\n"
    manifest = read_manifest(tmp_path / "tiny")
    assert manifest["recipe"]["batch_size"] == 16
    assert manifest["served_embedding"]["dim"] == 3
    assert manifest["data_licence"].startswith("Apache-2.0")
    monitor, record = manifest["evaluation"]
    assert 0 <= monitor["results"]["knn_accuracy"] <= 1
    assert record["results"] == {"linear_accuracy": 0.5}
    card = (tmp_path / "tiny/1/assets.extra/model_card.md").read_text()
    assert card.startswith("# tiny\n")
    for text in ("| images | shapes |", "| method | minc |", "knn_accuracy"):
        assert text in card

    # The vectors are those of the run's model, of images as it was given.
    model, _ = training.load_run(workdir)
    image = next(iter(data.load("shapes", num_examples=8).examples(8)))["image"]
    features = model.encoder(tf.cast(image, tf.float32), training=False)
    loaded = tf.saved_model.load(f"{tmp_path}/tiny/1")
    serve = loaded.signatures["serving_default"]
    pngs = tf.stack([tf.io.encode_png(each) for each in image])
    found = serve(image_bytes=pngs)
    np.testing.assert_allclose(found["features"], features, atol=1e-5)
    z = model.projector(features, training=False).numpy()
    moment = model.objective.second_moment.numpy()
    if not model.objective.triangular:
        z = z @ model.objective.rotation().numpy()
    assert moment.shape == (DIM, DIM)
    z = z[:, 1:4] / np.linalg.norm(z[:, 1:4], axis=1, keepdims=True)
    np.testing.assert_allclose(found["embedding"], z, atol=1e-5)
    assert manifest["preprocessing"]["pixel_range"] == [0, 1]
    views = tf.cast(image, tf.float32) / 255
    found = loaded.signatures["features"](images=views)["features"]
    np.testing.assert_allclose(found, features, atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="than the 2000"):
        serve(
            image_bytes=tf.io.encode_png(np.zeros((50, 41, 3), "uint8"))[None]
        )

    again = command("export", *flags, "--version=1")
    assert_refused(again, "version must be new; received 1")


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--dims=8"], ["dims must be in 1 to 7", "received 8"]),
        (["--dims=0"], ["--dims=0", "positive"]),
        (["--format=caffe"], ["--format", "caffe", "onnx"]),
        (
            ["--format=onnx", "--max_pixels=10"],
            ["--max_pixels must be left out with --format=onnx"],
        ),
        (
            ["--format=litert", "--serving_default=views"],
            ["--serving_default must be left out with --format=litert"],
        ),
        (["--max_pixels=99999999999"], ["max_pixels must be an int in [1"]),
        (["--value_range=1"], ["--value_range must be", "received '1'"]),
        (["--value_range=1,0"], ["--value_range must be", "received '1,0'"]),
        (["--value_range=0,x"], ["--value_range must be", "received '0,x'"]),
    ],
    ids=lambda value: value[0] if value[0].startswith("--") else "",
)
def test_wrong_flags(command, workdir, tmp_path, flags, parts):
    result = command(
        *("export", f"--workdir={workdir}", "--name=x"),
        *(f"--savedmodels={tmp_path}", *flags),
    )
    assert_refused(result, *parts)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written(command, workdir, tmp_path):
    (tmp_path / "file").write_text("")
    result = command(
        *("export", f"--workdir={workdir}", "--name=x"),
        f"--savedmodels={tmp_path}/file",
    )
    assert_refused(result, "directory must be a folder", f"{tmp_path}/file")
    assert os.listdir(tmp_path) == ["file"]
