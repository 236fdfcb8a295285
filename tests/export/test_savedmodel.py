"""Export: signatures, dtypes, order of coordinates, manifest, errors."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from minc_tf.export import export_savedmodel, read_manifest
from minc_tf.export.ordering import rotated_layers

from .tiny import (
    DIM,
    FEATURES,
    SHAPE,
    Ordering,
    make_encoder,
    make_model,
    make_projector,
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
    assert set(signatures) == {
        *("features", "embedding", "serving_default"),
        *("serve_bytes", "serve_images", "serve_views"),
    }
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
        "png = [tf.io.encode_png(tf.cast(i, tf.uint8)) for i in x]\n"
        "z['bytes'] = served['serving_default'](tf.stack(png))['features']\n"
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
    for name in ("features", "bytes"):
        np.testing.assert_allclose(found[name], model.encoder(x), atol=1e-5)
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
    # What is not folded comes after the projector.
    assert (layers[0] is model.projector) != folded
    parts = {id(part) for part in model.projector._flatten_layers()}
    own = [each for each in layers if id(each) not in parts]
    assert [type(each) for each in own][-1] is keras.layers.Dense
    # The projector's weights but for the last layer's are used, not copied.
    shared = {id(w) for w in model.projector.weights[: -2 if folded else None]}
    assert shared == {id(w) for each in layers[:-1] for w in each.weights}
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


class Doubled(keras.layers.Layer):
    """Not registered, and with a configuration that makes no copy."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return self.factor * x


class Flat(keras.Model):
    """A network that no configuration describes."""

    def __init__(self, units):
        super().__init__()
        self.parts = [keras.layers.Flatten(), keras.layers.Dense(units)]

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


def called(network, shape):
    network(np.zeros((1, *shape), "float32"))
    return network


def adapted():
    norm = keras.layers.Normalization()
    norm.adapt(np.random.default_rng(5).normal(2.0, 3.0, (64, FEATURES)))
    return norm


@pytest.mark.parametrize("kind", ["functional", "sequential", "unbuilt"])
@pytest.mark.parametrize(
    "make",
    [
        adapted,
        lambda: keras.layers.Lambda(lambda x: 2.0 * x),
        lambda: Doubled(2.0),
        lambda: keras.layers.Dense(6, activation=lambda x: keras.ops.sin(x)),
    ],
    ids=["normalization", "lambda", "unregistered", "function"],
)
def test_rotation_of_what_cannot_be_copied(make, kind):
    middle, last = make(), keras.layers.Dense(DIM, bias_initializer="normal")
    inputs = keras.Input((FEATURES,))
    projector = {
        "functional": lambda: keras.Model(inputs, last(middle(inputs))),
        "sequential": lambda: keras.Sequential([inputs, middle, last]),
        "unbuilt": lambda: called(
            keras.Sequential([middle, last]), (FEATURES,)
        ),
    }[kind]()
    model = make_model(
        objective=Ordering(triangular=False), projector=projector
    )
    rotation = keras.ops.convert_to_numpy(model.objective.rotation())
    x = np.random.default_rng(1).normal(size=(4, FEATURES)).astype("float32")
    expected = projector(x) @ rotation
    for _ in range(2):  # the first leaves nothing behind
        z = x
        layers = rotated_layers(projector, rotation)
        assert layers[0] is not projector
        for layer in layers:
            z = layer(z, training=False)
        np.testing.assert_allclose(z, expected, atol=1e-5)


@pytest.mark.parametrize("part", ["projector", "encoder", "both"])
def test_an_export_of_networks_that_cannot_be_copied(tmp_path, part):
    inputs = keras.Input((FEATURES,))
    x = Doubled(0.5)(adapted()(inputs))
    x = keras.layers.Lambda(lambda x: x - 1.0)(x)
    projector = keras.Model(inputs, keras.layers.Dense(DIM)(x))
    if part == "both":
        projector = called(Flat(DIM), (FEATURES,))
    model = make_model(
        objective=Ordering(triangular=False), projector=projector
    )
    if part != "projector":
        model.encoder = called(Flat(FEATURES), SHAPE)
    path = export_savedmodel(model, tmp_path, image_shape=SHAPE)
    rotation = keras.ops.convert_to_numpy(model.objective.rotation())
    x = images()
    expected = embedding_of(model, x) @ rotation
    found = served(path, "embedding", x)
    np.testing.assert_allclose(
        found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )


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


RECIPE = {"epochs": 3, "data": {"name": "cifar10"}, "seed": 0}
EVALUATION = [{"output": "features", "results": {"linear_accuracy": 0.625}}]


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """The path of an export with all that can be told of it."""
    return export_savedmodel(
        make_model(objective=Ordering(triangular=False)),
        tmp_path_factory.mktemp("described") / "cats|dogs",
        dims=3,
        recipe=RECIPE,
        evaluation=EVALUATION,
        data_licence="CC BY 4.0",
    )


def test_manifest(described, tmp_path):
    manifest = read_manifest(described)
    assert manifest["image_shape"] == list(SHAPE)
    assert manifest["features_dim"] == FEATURES
    assert manifest["embedding_dim"] == DIM
    assert manifest["objective"] == "Ordering"
    assert set(manifest["versions"]) == {"minc_tf", "keras", "tensorflow"}
    np.testing.assert_allclose(
        manifest["eigenvalues"],
        np.linalg.eigvalsh(Ordering(triangular=False).second_moment)[::-1],
        rtol=1e-4,
        atol=1e-6,
    )
    names = manifest["dimension_names"]
    assert names["features"] == [f"feature_{i}" for i in range(FEATURES)]
    assert names["embedding"] == ["embedding_1", "embedding_2", "embedding_3"]
    assert manifest["recipe"] == RECIPE
    assert manifest["evaluation"] == EVALUATION
    assert manifest["data_licence"] == "CC BY 4.0"
    assert manifest["preprocessing"]["size"] == list(SHAPE[:2])
    assert manifest["preprocessing"]["max_pixels"] == 2**25
    checkout = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        cwd=os.path.dirname(__file__),
        capture_output=True,
        text=True,
        check=False,
    )
    if checkout.returncode == 0:
        assert manifest["commit"].startswith(checkout.stdout.strip())
    export_savedmodel(make_model(), tmp_path)
    assert read_manifest(tmp_path)["embedding_ordered"] is False
    assert read_manifest(tmp_path)["eigenvalues"] is None


def test_model_card(described, tmp_path):
    with open(os.path.join(described, "assets.extra/model_card.md")) as file:
        card = file.read()
    assert card.startswith("# cats\\|dogs\n")
    for text in (
        "| `serving_default` | `image_bytes`: string (batch) | "
        "`embedding`: float32 (batch, 3), `features`: float32 (batch, 6) |",
        "| `serve_images` | `images`: uint8 (batch, any, any, 3) |",
        "| images | cifar10 |",
        "| linear_accuracy | 0.625 | features |",
        "Licence of the training images: CC BY 4.0.",
        "3 of all 5 coordinates",
    ):
        assert text in card
    path = export_savedmodel(make_model(), tmp_path)
    with open(os.path.join(path, "assets.extra/model_card.md")) as file:
        card = file.read()
    for text in ("are not known", "images: not stated", "Not evaluated"):
        assert text in card
    assert "eigenvalue" not in card


def test_warm_up_requests_run(described):
    signatures = tf.saved_model.load(described).signatures
    path = os.path.join(described, "assets.extra/tf_serving_warmup_requests")
    batches = []
    for record in tf.data.TFRecordDataset(path):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        name = request.model_spec.signature_name
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        found = signatures[name](
            **{k: tf.constant(v) for k, v in inputs.items()}
        )
        batch = len(next(iter(inputs.values())))
        for values in found.values():
            assert len(values) == batch
            assert np.isfinite(values).all()
        batches.append((name, batch))
    assert {name for name, _ in batches} == set(signatures)
    for name in ("serving_default", "serve_bytes"):
        assert {(name, 1), (name, 8)} <= set(batches)


def test_saved_model_cli(described, tmp_path):
    """TensorFlow's own command gives what the loaded model gives."""
    png = tf.io.encode_png(np.full((9, 7, 3), 70, "uint8")).numpy()
    np.save(tmp_path / "x.npy", np.array([png, png]))
    command = os.path.join(os.path.dirname(sys.executable), "saved_model_cli")
    subprocess.run(
        [
            *(command, "run", "--dir", described, "--tag_set", "serve"),
            *("--signature_def", "serving_default", "--outdir", tmp_path),
            *("--inputs", f"image_bytes={tmp_path}/x.npy"),
        ],
        check=True,
        capture_output=True,
    )
    wanted = tf.saved_model.load(described).signatures["serving_default"](
        image_bytes=tf.constant([png, png])
    )
    for name, values in wanted.items():
        found = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_allclose(found, values, atol=1e-5)


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
        ((9, 8, 3), r"fit the encoder's \(8, 8, 3\); received \(9, 8, 3\)"),
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
    with pytest.raises(ValueError, match=r"finite; received 1 NaN .* of 25"):
        export_savedmodel(make_model(objective=objective), tmp_path)
    assert not list(tmp_path.iterdir())


def test_encoder_that_returns_maps(tmp_path):
    model = make_model()
    model.encoder = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Conv2D(FEATURES, 3)]
    )
    with pytest.raises(ValueError, match=r"model.encoder must return vectors"):
        export_savedmodel(model, tmp_path)


@pytest.mark.parametrize("value_range", [(0, 255), (0, 1), (-1.5, 0.5)])
def test_range_of_float_images(tmp_path, value_range):
    """Is in the manifest, the model card and the warm-up requests."""
    low, high = value_range
    path = export_savedmodel(make_model(), tmp_path, value_range=value_range)
    manifest = read_manifest(path)
    assert manifest["preprocessing"]["pixel_range"] == [low, high]
    views = {
        "dtype": "float32",
        "shape": [None, *SHAPE],
        "value_range": [low, high],
    }
    uint8 = {
        "dtype": "uint8",
        "shape": [None, None, None, 3],
        "value_range": [0, 255],
    }
    files = {"image_bytes": {"dtype": "string", "shape": [None]}}
    assert manifest["signatures"] == {
        "features": {"images": views},
        "embedding": {"images": views},
        "serve_views": {"images": views},
        "serve_images": {"images": uint8},
        "serve_bytes": files,
        "serving_default": files,
    }
    with open(os.path.join(path, "assets.extra/model_card.md")) as file:
        card = " ".join(file.read().split())
    assert f"values from {low}, black, to {high}, white" in card
    warmup = os.path.join(path, "assets.extra/tf_serving_warmup_requests")
    grey = {}
    for record in tf.data.TFRecordDataset(warmup):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        if "images" in request.inputs:
            values = tf.make_ndarray(request.inputs["images"])
            grey[request.model_spec.signature_name] = values
    assert (grey["serve_images"] == 128).all()
    for name in ("features", "embedding", "serve_views"):
        wanted = low + (high - low) * 128 / 255
        np.testing.assert_allclose(grey[name], wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("value_range", "error"),
    [
        ((0,), TypeError),
        ("01", TypeError),
        ((0, "1"), TypeError),
        ((False, True), TypeError),
        (255, TypeError),
        ((1, 0), ValueError),
        ((1, 1), ValueError),
        ((0, np.inf), ValueError),
        ((np.nan, 1), ValueError),
        ((0, 10**400), ValueError),
    ],
    ids=str,
)
def test_wrong_range(tmp_path, value_range, error):
    with pytest.raises(error, match="value_range must be two") as caught:
        export_savedmodel(make_model(), tmp_path, value_range=value_range)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
