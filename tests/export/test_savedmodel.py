"""Export: signatures, dtypes, order of coordinates, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

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
def test_rotation_is_applied_and_the_model_unchanged(tail, folded):
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
    x = images(16)
    z = model.encoder(x, training=False)
    for each in layers:
        z = each(z, training=False)
    np.testing.assert_allclose(z, embedding_of(model, x) @ rotation, atol=1e-5)
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


@pytest.mark.parametrize("part", ["projector", "both"])
def test_an_export_of_networks_that_cannot_be_copied(tmp_path, part):
    inputs = keras.Input((FEATURES,))
    x = Doubled(0.5)(adapted()(inputs))
    x = keras.layers.Lambda(lambda x: x - 1.0)(x)
    projector = keras.Model(inputs, keras.layers.Dense(DIM)(x))
    model = make_model(
        objective=Ordering(triangular=False), projector=projector
    )
    if part == "both":
        model.projector = called(Flat(DIM), (FEATURES,))
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


def test_bfloat16_model_serves_float32(tmp_path):
    model = make_model("mixed_bfloat16", Ordering(triangular=False))
    path = export_savedmodel(model, tmp_path)
    x = images()
    features = model.encoder(x)
    assert features.dtype == tf.bfloat16
    found = served(path, "features", x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, keras.ops.cast(features, "float32"), rtol=0.02, atol=0.02
    )
    expected = embedding_of(model, x) @ model.objective.rotation().numpy()
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
