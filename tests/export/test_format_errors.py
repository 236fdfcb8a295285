"""ONNX, OpenVINO and LiteRT: what fails gives one clear line."""

import contextlib
import dataclasses
import os
import pathlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from minc_tf.export import export_runtime, formats
from minc_tf.export.runtimes import RUNTIMES, reason_of, silenced

from .running import FORMATS, around
from .tiny import SHAPE, make_model


@pytest.mark.parametrize("format", FORMATS)
def test_an_unknown_operation_is_named(format, tmp_path, capfd):
    layer = keras.layers.Lambda(
        lambda x: tf.linalg.svd(x[..., 0], compute_uv=False)
    )
    model = around(keras.Sequential([keras.Input(SHAPE), layer]), 8)
    capfd.readouterr()
    with pytest.raises(ValueError) as caught:
        export_runtime(model, tmp_path, format)
    assert str(caught.value) == (
        f"format '{format}' cannot hold this model: it has no operation for Svd"
    )
    assert not list(tmp_path.iterdir())
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_reasons_are_one_line():
    reason = reason_of(RuntimeError("Check\n failed at\n" + "x" * 1000))
    assert reason.startswith("Check failed at xxx")
    assert len(reason) < 310
    assert reason_of(RuntimeError()) == "RuntimeError"


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda out: {k: v * (1 + 2e-5) for k, v in out.items()}, r"by 2e-05"),
        (lambda out: {**out, "embedding": out["embedding"] * np.nan}, "by nan"),
        (
            lambda out: {**out, "features": out["features"][:1]},
            r"features of shape \(1, 6\), Keras \(3, 6\)",
        ),
    ],
)
def test_a_runtime_that_disagrees(change, message, tmp_path, monkeypatch):
    original = RUNTIMES["onnx"]

    def load(path):
        run = original.load(path)
        return lambda images: change(run(images))

    changed = dataclasses.replace(original, load=load)
    monkeypatch.setitem(formats.RUNTIMES, "onnx", changed)
    with pytest.raises(ValueError, match=f"'onnx' does not hold.*{message}"):
        export_runtime(make_model(), tmp_path / "new", "onnx")
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_other_versions(tmp_path, monkeypatch):
    model = make_model()
    path = export_runtime(model, tmp_path, "onnx", version=4)
    assert path == str(tmp_path / "onnx" / "4")
    with pytest.raises(ValueError, match=r"received 4, .*next free one is 5"):
        export_runtime(model, tmp_path, "onnx", version=4)

    def write(network, spec, path):
        pathlib.Path(path).write_text("half")
        raise KeyboardInterrupt

    failing = dataclasses.replace(RUNTIMES["onnx"], write=write)
    monkeypatch.setitem(formats.RUNTIMES, "onnx", failing)
    with pytest.raises(KeyboardInterrupt):
        export_runtime(model, tmp_path, "onnx")
    assert os.listdir(tmp_path / "onnx") == ["4"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_package(format, tmp_path, monkeypatch):
    module = RUNTIMES[format].modules[0]
    monkeypatch.setitem(sys.modules, module, None)
    line = rf"needs {module} .*; pip install minc_tf\[{format}\]$"
    with pytest.raises(ImportError, match=line):
        export_runtime(None, tmp_path, format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "format, options, message",
    [
        (
            "tflite",
            {},
            "one of 'onnx', 'openvino', 'litert'; received 'tflite'",
        ),
        ("onnx", {"version": 0}, "version must be an int >= 1"),
        ("onnx", {"dims": 2}, "dims must be None"),
        ("onnx", {"image_shape": (9, 8, 3)}, "image_shape must fit"),
        ("onnx", {"recipe": []}, "recipe must be a dict"),
    ],
)
def test_wrong_arguments(format, options, message, tmp_path):
    with pytest.raises((TypeError, ValueError), match=message):
        export_runtime(make_model(), tmp_path, format, **options)
    assert not list(tmp_path.iterdir())


def test_wrong_models(tmp_path):
    with pytest.raises(TypeError, match="model must have encoder"):
        export_runtime(object(), tmp_path, "onnx")
    model = make_model()
    model.projector.set_weights(
        [np.full_like(w, np.nan) for w in model.projector.get_weights()]
    )
    with pytest.raises(ValueError, match="finite embedding; received NaN"):
        export_runtime(model, tmp_path, "onnx")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="directory must be a folder"):
        export_runtime(make_model(), tmp_path / "file", "onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_output_comes_back_after_an_error(capfd):
    with contextlib.suppress(RuntimeError), silenced():
        os.write(1, b"C++ says this")
        print("Python this", file=sys.stderr)
        raise RuntimeError
    os.write(1, b"out")
    os.write(2, b"err")
    assert capfd.readouterr() == ("out", "err")
