"""ONNX, OpenVINO and LiteRT: the same vectors as Keras."""

import importlib
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import minc_tf
from minc_tf.export import export_runtime, export_savedmodel
from minc_tf.export.runtimes import RUNTIMES

from .running import FORMATS, around, images, run, vectors
from .tiny import DIM, SHAPE, Ordering, make_model

FILES = {
    "onnx": {"model.onnx"},
    "openvino": {"model.xml", "model.bin"},
    "litert": {"model.tflite"},
}


def manifest_of(path):
    return json.loads(
        (pathlib.Path(path) / "assets.extra/manifest.json").read_text()
    )


def run_python(code, *arguments):
    """Run code in a process that may not import TensorFlow."""
    forbid = "import sys; sys.modules.update(tensorflow=None, minc_tf=None);"
    return subprocess.run(
        [sys.executable, "-c", forbid + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("format", FORMATS)
def test_vectors_equal_those_of_keras(format, tmp_path, capfd):
    model = make_model(objective=Ordering(triangular=False))
    before = [w.copy() for w in model.encoder.get_weights()]
    capfd.readouterr()
    path = export_runtime(
        model,
        tmp_path / "new",
        format,
        dims=2,
        whiten=True,
        normalize=True,
        recipe={"epochs": 3},
        data_licence="CC BY 4.0",
    )
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert path == str(tmp_path / "new" / format / "1")
    assert set(os.listdir(path)) == FILES[format] | {"assets.extra"}

    values, basis = np.linalg.eigh(model.objective.second_moment)
    for n in (1, 3, 11):
        x = images(n)
        features, z = vectors(model, x)
        z = (z @ basis[:, ::-1])[:, 1:3] / np.sqrt(values[::-1][1:3])
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        found = run(path, format, x)
        assert found[0].dtype == found[1].dtype == np.float32
        np.testing.assert_allclose(found[0], features, atol=1e-6)
        np.testing.assert_allclose(found[1], z, atol=1e-5)

    manifest = manifest_of(path)
    assert manifest["format"] == format
    assert manifest["image_shape"] == list(SHAPE)
    assert (manifest["features_dim"], manifest["embedding_dim"]) == (6, DIM)
    assert manifest["served_embedding"]["dim"] == 2
    assert manifest["recipe"] == {"epochs": 3}
    assert manifest["data_licence"] == "CC BY 4.0"
    assert "max_pixels" not in manifest["preprocessing"]
    checked = manifest["checked"]
    assert checked["runtime"] == RUNTIMES[format].name
    module = importlib.import_module(checked["runtime"])
    assert module.__version__.startswith(checked["version"])
    assert 0 <= checked["max_difference"] <= 1e-5
    after = model.encoder.get_weights()
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_onnx_in_a_process_without_tensorflow(tmp_path):
    model = make_model()
    path = export_runtime(model, tmp_path, "onnx")
    np.save(tmp_path / "images.npy", images(3))
    code = """
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx")
(given,) = session.get_inputs()
assert (given.name, given.shape) == ("images", ["batch", 8, 8, 3])
images = numpy.load(sys.argv[2] + "/images.npy")
found = session.run(["features", "embedding"], {"images": images})
numpy.savez(sys.argv[2] + "/found", *found)
assert not sys.modules["tensorflow"] and "keras" not in sys.modules
"""
    result = run_python(code, path, tmp_path)
    assert result.returncode == 0, result.stderr
    found = np.load(tmp_path / "found.npz")
    expected = vectors(model, images(3))
    for a, b in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_openvino_reads_a_saved_model_without_tensorflow(tmp_path):
    model = make_model()
    path = export_savedmodel(model, tmp_path, serving_default="views")
    np.save(tmp_path / "images.npy", images(3))
    code = """
import numpy, openvino
model = openvino.convert_model(sys.argv[1])
hint = {"INFERENCE_PRECISION_HINT": "f32"}
compiled = openvino.compile_model(model, "CPU", hint)
images = numpy.load(sys.argv[2] + "/images.npy")
found = compiled({"images": images})
numpy.savez(sys.argv[2] + "/found", found["features"], found["embedding"])
assert not sys.modules["tensorflow"] and "keras" not in sys.modules
"""
    result = run_python(code, path, tmp_path)
    assert result.returncode == 0, result.stderr
    found = np.load(tmp_path / "found.npz")
    expected = vectors(model, images(3))
    for a, b in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_openvino_converts_a_signature(tmp_path):
    import openvino

    model = make_model()
    loaded = tf.saved_model.load(export_savedmodel(model, tmp_path))
    converted = openvino.convert_model(loaded.signatures["serve_views"])
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    found = openvino.compile_model(converted, "CPU", hint)(images(3))
    expected = vectors(model, images(3))
    for name, b in zip(("features", "embedding"), expected, strict=True):
        np.testing.assert_allclose(found[name], b, atol=1e-6)


@pytest.mark.parametrize(
    "format, policy",
    [
        ("onnx", "mixed_bfloat16"),
        ("openvino", "mixed_float16"),
        ("litert", "mixed_bfloat16"),
    ],
)
def test_mixed_precision_becomes_float32(format, policy, tmp_path):
    half = "bfloat16" if policy == "mixed_bfloat16" else "float16"
    mean, variance = [100.0, 120.0, 130.0], [5000.0, 6000.0, 7000.0]
    keras.config.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(0)
        # A Sequential without an Input: its input is of half precision.
        encoder = keras.Sequential(
            [
                keras.layers.Normalization(mean=mean, variance=variance),
                keras.layers.Conv2D(6, 3),
                keras.layers.GlobalAveragePooling2D(),
            ]
        )
        encoder(np.zeros((1, *SHAPE), "float32"))
        model = around(encoder)
    finally:
        keras.config.set_dtype_policy("float32")
    policies = [layer.dtype_policy.name for layer in encoder.layers]
    path = export_runtime(model, tmp_path, format, image_shape=SHAPE)

    # By hand, for Keras rounds what it computes to half precision.
    x = images(4)
    rounded = [
        np.array(tf.cast(v, half).numpy(), "f8") for v in (mean, variance)
    ]
    y = (x - rounded[0]) / np.sqrt(rounded[1])
    kernel, bias = encoder.get_weights()[-2:]
    windows = np.lib.stride_tricks.sliding_window_view(y, (3, 3), (1, 2))
    expected = np.einsum("nijcab,abcf->nf", windows, kernel) / 36 + bias
    features, z = run(path, format, x)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    weight, bias = model.projector.get_weights()
    np.testing.assert_allclose(z, expected @ weight + bias, atol=1e-5)
    np.testing.assert_allclose(features, vectors(model, x)[0], atol=0.05)

    assert [layer.dtype_policy.name for layer in encoder.layers] == policies
    assert encoder.layers[0].mean.dtype == half
    assert encoder.inputs[0].dtype == half
    assert manifest_of(path)["checked"]["max_difference"] <= 1e-5


class Subclassed(keras.Model):
    """Computes with TensorFlow, and tells no shapes."""

    def __init__(self):
        super().__init__()
        self.conv = keras.layers.Conv2D(6, 3)

    def call(self, images, training=False):
        return tf.reduce_mean(tf.nn.relu(self.conv(images / 255)), (1, 2))


def unusual(name):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    if name == "subclassed":
        model = Subclassed()
        model(np.zeros((1, *SHAPE), "float32"))
        return model
    if name == "lambda":
        return keras.Sequential(
            [
                keras.Input(SHAPE),
                layers.Lambda(lambda x: x / 255),
                layers.Conv2D(6, 3),
                layers.Dropout(0.5),
                layers.GlobalMaxPooling2D(),
            ]
        )
    # Values that are no weights; tf2onnx takes such for inputs.
    inputs = keras.Input(SHAPE)
    x = keras.applications.densenet.preprocess_input(inputs)
    x = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[2, 3, 4])(x)
    x = layers.Conv2D(6, 3)(x)
    return keras.Model(inputs, layers.GlobalMaxPooling2D()(x))


@pytest.mark.parametrize(
    "format, name",
    [
        *((each, "subclassed") for each in FORMATS),
        ("onnx", "lambda"),
        ("onnx", "constants"),
        ("openvino", "constants"),
    ],
)
def test_unusual_encoders(format, name, tmp_path):
    model = around(unusual(name))
    path = export_runtime(model, tmp_path, format, image_shape=SHAPE)
    found = run(path, format, images(2))
    for a, b in zip(found, vectors(model, images(2)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def trained():
    """Encoder and projector of one name; synchronised batch statistics."""
    keras.utils.set_random_seed(0)
    shape = (16, 16, 3)
    model = minc_tf.models.MINCModel(
        minc_tf.models.small_resnet(
            image_shape=shape, filters=(4, 8), name="one"
        ),
        minc_tf.models.mlp(8, (16, 6), name="one"),
        objective=minc_tf.objectives.MINC(dim=6, triangular=True, mu=None),
    )
    model.compile("adam", run_eagerly=True)
    model.fit(images(32, shape), images(32, shape, 8), verbose=0)
    return model


@pytest.mark.parametrize("format", FORMATS)
def test_a_trained_model(format, trained, tmp_path):
    path = export_runtime(trained, tmp_path, format)
    x = images(3, (16, 16, 3))
    features, z = run(path, format, x)
    expected = vectors(trained, x)
    np.testing.assert_allclose(features, expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(z, expected[1][:, 1:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("format", FORMATS)
def test_images_of_another_range(format, tmp_path):
    model = make_model()
    path = export_runtime(model, tmp_path, format, value_range=(0, 1))
    x = images(3)
    for found, wanted in zip(
        run(path, format, x / 255), vectors(model, x), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    manifest = manifest_of(path)
    assert manifest["preprocessing"]["pixel_range"] == [0, 1]
    assert manifest["inputs"] == {
        "images": {
            "dtype": "float32",
            "shape": [None, *SHAPE],
            "value_range": [0, 1],
        }
    }
