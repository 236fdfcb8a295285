"""The exported encoder as an object to train: gradients, state, flags."""

import logging
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from minc_tf.export import export_savedmodel, read_manifest

SHAPE = (8, 8, 3)


@keras.saving.register_keras_serializable(package="tests")
class Noise(keras.layers.Layer):
    """Adds noise of Keras's global generator, which no layer owns."""

    def call(self, x, training=False):
        if not training:
            return x
        return x + 0.1 * keras.random.normal(keras.ops.shape(x))


def make_encoder(dtype=None, extra=()):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Rescaling(1 / 127.5, -1, dtype=dtype),
            layers.Conv2D(6, 3, dtype=dtype, activation="silu", use_bias=False),
            layers.BatchNormalization(
                dtype=dtype, synchronized=True, momentum=0.5
            ),
            layers.Dropout(0.3, dtype=dtype),
            *extra,
            layers.GlobalAveragePooling2D(dtype=dtype),
            layers.Dense(4, dtype=dtype),
        ]
    )


def exported(encoder, directory, **kwargs):
    projector = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model = types.SimpleNamespace(
        encoder=encoder, projector=projector, objective=object()
    )
    return export_savedmodel(model, directory, **kwargs)


RECIPE = {"batch_size": 256, "views": {"area": (0.2, 1.0)}, "seed": None}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """An export of the encoder, and of how it was trained."""
    folder = tmp_path_factory.mktemp("exported")
    return exported(make_encoder(), folder, recipe=RECIPE)


def images(n=16, seed=0):
    rng = np.random.default_rng(seed)
    return tf.constant(rng.uniform(0, 255, (n, *SHAPE)), tf.float32)


def values(variables):
    return [v.numpy() for v in variables]


def gradients_of(function, variables, x):
    """Gradient of a loss that depends on every feature."""
    with tf.GradientTape() as tape:
        features = tf.cast(function(x, training=True), tf.float32)
        loss = tf.reduce_sum(features * tf.cos(tf.range(4, dtype=tf.float32)))
    return tape.gradient(loss, variables)


def test_training_equals_that_of_the_live_encoder(path):
    encoder, loaded = make_encoder(), tf.saved_model.load(path)
    x = images()
    np.testing.assert_allclose(loaded(x), encoder(x, training=False), atol=1e-6)
    for _ in range(2):  # the second step drops other values
        found = gradients_of(loaded, loaded.trainable_variables, x)
        expected = gradients_of(
            encoder, [v.value for v in encoder.trainable_variables], x
        )
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    # Moving statistics and the state of the dropout have moved alike.
    for a, b in zip(
        values(loaded.variables), values(encoder.variables), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        loaded(x, training=False), encoder(x, training=False), atol=1e-6
    )


def test_only_training_mode_moves_the_state(path):
    loaded = tf.saved_model.load(path)
    x = images()
    before = values(loaded.variables)
    loaded(x)
    for name in ("features", "embedding", "serve_views"):
        loaded.signatures[name](images=x)
    for a, b in zip(values(loaded.variables), before, strict=True):
        np.testing.assert_array_equal(a, b)
    loaded(x, training=True)
    moved = {
        v.name.split("/")[-1]: bool(np.any(v.numpy() != b))
        for v, b in zip(loaded.variables, before, strict=True)
    }
    assert moved == {
        "kernel:0": False,
        "gamma:0": False,
        "beta:0": False,
        "moving_mean:0": True,
        "moving_variance:0": True,
        "seed_generator_state:0": True,
        "bias:0": False,
    }
    # The signatures read the same weights.
    np.testing.assert_array_equal(
        loaded.signatures["features"](images=x)["features"], loaded(x)
    )


def test_variables_are_those_of_the_encoder(tmp_path):
    encoder = make_encoder()
    loaded = tf.saved_model.load(exported(encoder, tmp_path))
    assert len(loaded.variables) == len(encoder.variables)
    assert len({id(v) for v in loaded.variables}) == len(loaded.variables)
    names = [v.name for v in loaded.trainable_variables]
    assert names == [f"{v.path}:0" for v in encoder.trainable_variables]
    known = {id(v) for v in loaded.variables}
    for v in loaded.trainable_variables:
        assert v.trainable
        assert id(v) in known


def test_what_is_frozen_can_be_trained_and_stays_frozen(tmp_path):
    inner = keras.Sequential(
        [keras.layers.Conv2D(6, 1), keras.layers.BatchNormalization()]
    )
    encoder = make_encoder(extra=[inner])
    whole = len(encoder.trainable_variables)
    encoder.trainable = False
    inner.layers[1].trainable = True  # below a frozen parent
    norm = encoder.layers[2]
    before = [layer.trainable for layer in encoder._flatten_layers()]
    flags = [v.trainable for v in encoder.variables]
    loaded = tf.saved_model.load(exported(encoder, tmp_path))
    assert [p.trainable for p in encoder._flatten_layers()] == before
    assert [v.trainable for v in encoder.variables] == flags
    assert norm.synchronized
    assert len(loaded.trainable_variables) == whole
    # Not in inference mode, as frozen normalisation is.
    first = loaded(images(), training=True)
    assert np.abs(first - loaded(images(), training=False)).max() > 1e-3


def test_bfloat16(tmp_path):
    encoder = make_encoder("mixed_bfloat16")
    loaded = tf.saved_model.load(exported(encoder, tmp_path))
    x = images()
    assert loaded(x).dtype == tf.float32
    assert loaded(x, training=True).dtype == tf.float32
    weights = loaded.trainable_variables
    assert {v.dtype for v in weights} == {tf.float32}
    encoder(x, training=True)  # as many calls as the loaded one
    found = gradients_of(loaded, weights, x)
    expected = gradients_of(
        encoder, [v.value for v in encoder.trainable_variables], x
    )
    for a, b in zip(found, expected, strict=True):
        scale = tf.norm(b) + 1e-3
        assert tf.norm(a - b) < 0.05 * scale


def test_state_that_no_layer_owns(tmp_path):
    encoder = make_encoder(extra=[Noise()])
    loaded = tf.saved_model.load(exported(encoder, tmp_path))
    x = images()
    assert len(loaded.variables) == len(encoder.variables) + 1
    assert np.abs(loaded(x, training=True) - loaded(x)).max() > 1e-3
    np.testing.assert_allclose(loaded(x), loaded(x))


def test_an_encoder_of_a_distribution_strategy(tmp_path):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        encoder = make_encoder()
    loaded = tf.saved_model.load(exported(encoder, tmp_path))
    assert len(loaded.variables) == len(encoder.variables)
    x = images()
    mean = encoder.layers[2].moving_mean
    with strategy.scope():
        expected = encoder(x, training=False)
    np.testing.assert_allclose(loaded(x), expected, atol=1e-6)
    (moved,) = (v for v in loaded.variables if "moving_mean" in v.name)
    np.testing.assert_array_equal(moved, mean.numpy())
    loaded(x, training=True)
    assert np.any(moved.numpy() != mean.numpy())


@pytest.mark.parametrize("momentum", [0.999, 0.5])
def test_statistics_follow_a_run_of_few_steps(tmp_path, momentum):
    encoder = make_encoder()
    norm = encoder.layers[2]
    norm.momentum = momentum
    loaded = tf.saved_model.load(exported(encoder, tmp_path))
    assert norm.momentum == momentum
    before = norm.moving_mean.numpy()
    (moved,) = (v for v in loaded.variables if "moving_mean" in v.name)
    x = images()
    loaded(x, training=True)
    norm.momentum = 0.0
    encoder(x, training=True)
    used = min(momentum, 0.9)
    expected = used * before + (1.0 - used) * norm.moving_mean.numpy()
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-6)


def test_loading_is_silent(path, caplog):
    with caplog.at_level(logging.WARNING):
        tf.saved_model.load(path)
    assert not caplog.records


def test_recipe_in_the_manifest(path, tmp_path):
    views = {"area": [0.2, 1.0]}
    assert read_manifest(path)["recipe"] == {**RECIPE, "views": views}
    assert read_manifest(exported(make_encoder(), tmp_path))["recipe"] is None


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("minc.py", "a dict or None; received str"),
        ({"rate": np.float32(1)}, r"JSON can hold; .*float32"),
        ({"rate": float("nan")}, "JSON can hold; .*nan"),
    ],
    ids=["text", "array", "nan"],
)
def test_bad_recipe(tmp_path, recipe, message):
    with pytest.raises(TypeError, match=message):
        exported(make_encoder(), tmp_path, recipe=recipe)
    assert not list(tmp_path.iterdir())
