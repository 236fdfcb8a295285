"""Export: signatures, dtypes, order of coordinates, manifest, errors."""

import os
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from minc_tf.export import export_savedmodel, read_manifest
from minc_tf.export.ordering import rotated_layers

SHAPE = (8, 8, 3)
FEATURES, DIM = 6, 5


class Ordering:
    """Stands in for MINC: second moment, `triangular`, `rotation()`."""

    def __init__(self, triangular, seed=0):
        rng = np.random.default_rng(seed)
        factor = rng.normal(size=(DIM, DIM))
        self.second_moment = (factor @ factor.T / DIM).astype("float32")
        self.triangular = triangular

    def rotation(self):
        vectors = np.linalg.eigh(self.second_moment)[1]
        return keras.ops.convert_to_tensor(vectors[:, ::-1].copy())


def make_encoder(dtype=None, shape=SHAPE):
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 255, dtype=dtype),
            keras.layers.Conv2D(FEATURES, 3, dtype=dtype, activation="relu"),
            keras.layers.BatchNormalization(dtype=dtype),
            keras.layers.GlobalAveragePooling2D(dtype=dtype),
        ]
    )


def make_projector(dtype=None, tail=()):
    inputs = keras.Input((FEATURES,))
    x = keras.layers.Dense(7, "relu", dtype=dtype)(inputs)
    x = keras.layers.BatchNormalization(dtype=dtype)(x)
    x = keras.layers.Dense(DIM, dtype=dtype, bias_initializer="normal")(x)
    for layer in tail:
        x = layer(x)
    return keras.Model(inputs, x)


def make_model(dtype=None, objective=None, projector=None):
    return types.SimpleNamespace(
        encoder=make_encoder(dtype),
        projector=projector or make_projector(dtype),
        objective=objective or object(),
    )


def images(n=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *SHAPE)).astype("float32")


def served(path, name, x):
    module = tf.saved_model.load(path)
    return module.signatures[name](images=tf.constant(x))[name].numpy()


def embedding_of(model, x):
    z = model.projector(model.encoder(x, training=False), training=False)
    return keras.ops.convert_to_numpy(keras.ops.cast(z, "float32"))


def test_signatures_equal_the_keras_model(tmp_path):
    model = make_model()
    path = export_savedmodel(model, tmp_path / "new" / "name")
    assert path == str(tmp_path / "new" / "name" / "1")
    signatures = tf.saved_model.load(path).signatures
    assert set(signatures) == {"features", "embedding", "serving_default"}
    for name in ("features", "embedding"):
        function = signatures[name]
        assert function.structured_input_signature == (
            (),
            {"images": tf.TensorSpec((None, *SHAPE), tf.float32, "images")},
        )
        assert list(function.structured_outputs) == [name]
    for n in (1, 7):  # the batch dimension is free
        x = images(n)
        expected = keras.ops.convert_to_numpy(model.encoder(x))
        np.testing.assert_allclose(
            served(path, "features", x), expected, atol=1e-5
        )
        np.testing.assert_allclose(
            served(path, "embedding", x), embedding_of(model, x), atol=1e-5
        )


def test_runs_in_a_process_without_this_library(tmp_path):
    model = make_model(objective=Ordering(triangular=False))
    path = export_savedmodel(model, tmp_path)
    x = images()
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        "path, x, out = sys.argv[1:]\n"
        "served = tf.saved_model.load(path).signatures\n"
        "x = tf.constant(np.load(x))\n"
        "z = {n: served[n](images=x)[n].numpy()"
        " for n in ('features', 'embedding')}\n"
        "assert 'minc_tf' not in sys.modules\n"
        "np.savez(out, **z)\n"
    )
    out = tmp_path / "z.npz"
    subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "x.npy", out],
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    found = np.load(out)
    rotation = keras.ops.convert_to_numpy(model.objective.rotation())
    np.testing.assert_allclose(
        found["features"],
        keras.ops.convert_to_numpy(model.encoder(x)),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        found["embedding"], embedding_of(model, x) @ rotation, atol=1e-5
    )


@pytest.mark.parametrize(
    ("tail", "folded"),
    [
        ([], True),
        ([keras.layers.BatchNormalization()], False),
        ([lambda z: keras.ops.tanh(z)], False),
        ([keras.layers.Dense(DIM, "relu")], False),
    ],
    ids=["dense", "norm", "operation", "activation"],
)
def test_rotation_is_applied_and_the_model_unchanged(tmp_path, tail, folded):
    model = make_model(
        objective=Ordering(triangular=False),
        projector=make_projector(None, tail),
    )
    before = [w.copy() for w in model.projector.get_weights()]
    config = model.projector.get_config()
    rotation = keras.ops.convert_to_numpy(model.objective.rotation())
    layers = rotated_layers(model.projector, rotation)
    assert len(layers) == (1 if folded else 2)
    path = export_savedmodel(model, tmp_path)
    x = images(16)
    np.testing.assert_allclose(
        served(path, "embedding", x),
        embedding_of(model, x) @ rotation,
        atol=1e-5,
    )
    for a, b in zip(before, model.projector.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.projector.get_config() == config


def test_rotation_of_a_dense_layer_used_twice():
    inputs = keras.Input((DIM,))
    shared = keras.layers.Dense(DIM)
    projector = keras.Model(inputs, shared(keras.ops.relu(shared(inputs))))
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, DIM)))[0]
    z = x = np.random.default_rng(1).normal(size=(3, DIM)).astype("float32")
    for layer in rotated_layers(projector, rotation.astype("float32")):
        z = layer(z)
    np.testing.assert_allclose(z, projector(x) @ rotation, atol=1e-5)


def test_triangular_embedding_is_exported_as_it_is(tmp_path):
    model = make_model(objective=Ordering(triangular=True))
    path = export_savedmodel(model, tmp_path)
    x = images()
    np.testing.assert_allclose(
        served(path, "embedding", x), embedding_of(model, x), atol=1e-5
    )
    manifest = read_manifest(path)
    assert manifest["embedding_ordered"] is True
    np.testing.assert_allclose(
        manifest["eigenvalues"], np.diagonal(model.objective.second_moment)
    )


def test_manifest(tmp_path):
    model = make_model(objective=Ordering(triangular=False))
    export_savedmodel(model, tmp_path)
    manifest = read_manifest(tmp_path)
    assert manifest["image_shape"] == list(SHAPE)
    assert manifest["features_dim"] == FEATURES
    assert manifest["embedding_dim"] == DIM
    assert manifest["objective"] == "Ordering"
    assert set(manifest["versions"]) == {"minc_tf", "keras", "tensorflow"}
    np.testing.assert_allclose(
        manifest["eigenvalues"],
        np.linalg.eigvalsh(model.objective.second_moment)[::-1],
        rtol=1e-4,
        atol=1e-6,
    )
    export_savedmodel(make_model(), tmp_path)
    assert read_manifest(tmp_path)["embedding_ordered"] is False
    assert read_manifest(tmp_path)["eigenvalues"] is None


def test_manifest_of_other_savedmodels(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    assert read_manifest(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="path must be"):
        read_manifest(tmp_path / "nowhere")


@pytest.mark.parametrize("triangular", [True, False])
def test_bfloat16_model_serves_float32(tmp_path, triangular):
    model = make_model("mixed_bfloat16", Ordering(triangular))
    path = export_savedmodel(model, tmp_path)
    x = images()
    features = model.encoder(x)
    assert features.dtype == tf.bfloat16
    found = served(path, "features", x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, keras.ops.cast(features, "float32"), rtol=0.02, atol=0.02
    )
    expected = embedding_of(model, x)
    if not triangular:
        expected = expected @ model.objective.rotation().numpy()
    found = served(path, "embedding", x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.05)


def test_image_shape_of_an_encoder_for_any_size(tmp_path):
    model = make_model()
    model.encoder = make_encoder(shape=(None, None, 3))
    with pytest.raises(ValueError, match="image_shape must be given"):
        export_savedmodel(model, tmp_path)
    path = export_savedmodel(model, tmp_path, image_shape=(12, 10, 3))
    x = np.full((2, 12, 10, 3), 128, "float32")
    np.testing.assert_allclose(
        served(path, "features", x), model.encoder(x), atol=1e-5
    )
    assert read_manifest(path)["image_shape"] == [12, 10, 3]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((9, 8, 3), r"fit the encoder's \(8, 8, 3\), received \(9, 8, 3\)"),
        ((8, 8), r"must be \(height, width, 3\).*\(8, 8\)"),
        ((8, 8, 1), r"must be \(height, width, 3\)"),
        ((0, 8, 3), r"must be \(height, width, 3\)"),
    ],
)
def test_wrong_image_shape(tmp_path, shape, message):
    with pytest.raises(ValueError, match=message):
        export_savedmodel(make_model(), tmp_path, image_shape=shape)
    assert not list(tmp_path.iterdir())


def test_unbuilt_and_incomplete_models(tmp_path):
    model = make_model()
    model.projector = keras.Sequential([keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="projector has no weights yet"):
        export_savedmodel(model, tmp_path)
    model.encoder = keras.Sequential([keras.layers.Flatten()])
    with pytest.raises(ValueError, match="encoder has no weights yet"):
        export_savedmodel(model, tmp_path)
    with pytest.raises(TypeError, match="received Sequential without encoder"):
        export_savedmodel(model.encoder, tmp_path)
    objective = Ordering(triangular=True)
    objective.second_moment = None
    with pytest.raises(ValueError, match="no second moment yet"):
        export_savedmodel(make_model(objective=objective), tmp_path)
    assert not list(tmp_path.iterdir())


def test_second_moment_that_is_not_finite(tmp_path):
    objective = Ordering(triangular=False)
    objective.second_moment[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"finite, received 1 NaN .* of 25"):
        export_savedmodel(make_model(objective=objective), tmp_path)
    assert not list(tmp_path.iterdir())


def test_encoder_that_returns_maps(tmp_path):
    model = make_model()
    model.encoder = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Conv2D(FEATURES, 3)]
    )
    with pytest.raises(ValueError, match=r"model.encoder must return vectors"):
        export_savedmodel(model, tmp_path)
