"""Target networks of encoders that no configuration describes."""

import keras
import numpy as np
import pytest
from gradients import BACKEND
from keras import layers, ops

import minc_tf
from models import tiny

WIDTHS = {"projector_widths": (8, 4)}


def small(method, encoder, **kwargs):
    if method != "minc_target":
        kwargs["predictor_widths"] = (8, 4)
    model = minc_tf.build(method, encoder, **WIDTHS, **kwargs)
    model.compile(keras.optimizers.SGD(1e-3), **tiny.EAGER)
    return model


class Patches(layers.Layer):
    """Not registered."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.embed = layers.Conv2D(width, 2, strides=2)
        self.tokens = layers.Reshape((-1, width))

    def call(self, images):
        return self.tokens(self.embed(images / 255.0))


def transformer():
    images = keras.Input(tiny.SHAPE)
    x = Patches(8)(images)
    x = x + layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.Dense(8, activation=lambda t: ops.tanh(t))(x)
    x = layers.Lambda(lambda t: ops.mean(t, axis=1), output_shape=(8,))(x)
    return keras.Model(images, x)


class Subclass(keras.Model):
    """Not registered, and without a configuration."""

    def __init__(self):
        super().__init__()
        self.parts = [layers.Flatten(), layers.Dense(6), Scaled()]

    def call(self, images):
        for part in self.parts:
            images = part(images)
        return images


class Scaled(layers.Layer):
    """A batch normalisation at rest, by hand."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.scale / 100.0


def subclass():
    encoder = Subclass()
    encoder(np.zeros((1, *tiny.SHAPE), "float32"))
    return encoder


def adapted():
    norm = layers.Normalization()
    norm.adapt(tiny.views(4)[0])
    images = keras.Input(tiny.SHAPE)
    return keras.Model(images, layers.Dense(6)(layers.Flatten()(norm(images))))


def efficientnet():
    return keras.applications.EfficientNetB0(
        include_top=False,
        weights=None,
        input_shape=(32, 32, 3),
        pooling="avg",
    )


def features(model, images):
    online = model.projector(model.encoder(images))
    return (
        np.array(model.target_projector(model.target_encoder(images))),
        np.array(online),
    )


SMALL = [transformer, subclass, adapted]
# Op by op on JAX it takes minutes.
MAKERS = [*SMALL, efficientnet] if BACKEND == "tensorflow" else SMALL


@pytest.mark.parametrize("make", MAKERS)
def test_a_target_starts_as_the_online_network(make):
    keras.utils.set_random_seed(3)
    encoder = make()
    model = small("byol", encoder)
    shape = (32, 32, 3) if make is efficientnet else tiny.SHAPE
    images = tiny.views(shape=shape)[0]
    for _ in range(2):
        target, online = features(model, images)
        np.testing.assert_allclose(target, online, rtol=1e-5, atol=1e-6)
        assert np.abs(online).max() > 0.0
        rng = np.random.default_rng(0)
        encoder.set_weights(
            [
                w + rng.uniform(0.0, 0.1, w.shape).astype(w.dtype)
                for w in encoder.get_weights()
            ]
        )
    model = small("minc_target", encoder)
    np.testing.assert_allclose(*features(model, images), rtol=1e-5, atol=1e-6)


def test_weights_of_before_training_reach_the_first_step():
    """The momentum of one step is that of the weights loaded last."""
    model = tiny.build("cosine", target_momentum=0.75)
    start = [w + 0.5 for w in model.encoder.get_weights()]
    model.encoder.set_weights(start)
    tiny.fit(model)
    expected = [
        0.75 * a + 0.25 * b
        for a, b in zip(start, model.encoder.get_weights(), strict=True)
    ]
    tiny.assert_close(model.target_encoder.get_weights(), expected, 1e-6)
    # From then on the target goes its own way.
    model.encoder.set_weights(start)
    images = tiny.views()[0]
    assert not np.allclose(*features(model, images), atol=1e-3)


@pytest.mark.parametrize(
    "make", SMALL if BACKEND == "tensorflow" else [transformer]
)
def test_saved_weights_change_no_later_loss(make, tmp_path):
    model, again = (small("byol", make()) for _ in range(2))
    tiny.fit(model, 2)
    model.save_weights(tmp_path / "model.weights.h5")
    again.load_weights(tmp_path / "model.weights.h5")
    assert tiny.fit(again, 2, seed=9) == tiny.fit(model, 2, seed=9)


def test_a_saved_model_with_an_adapted_layer(tmp_path):
    model = small("byol", adapted())
    tiny.fit(model, 2)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert tiny.fit(again, 2, seed=9) == tiny.fit(model, 2, seed=9)


def test_a_layer_that_is_unfrozen_is_so_in_the_target():
    model = tiny.build(norm="frozen", target_momentum=0.5)
    norm = model.encoder.get_layer("norm")
    index = [w is norm.moving_mean for w in model.encoder.weights].index(True)
    tiny.fit(model)
    kept = model.target_encoder.weights[index]
    assert not np.any(kept.numpy())
    norm.trainable = True
    model.compile(keras.optimizers.SGD(tiny.RATE), **tiny.EAGER)
    tiny.fit(model)
    assert np.all(kept.numpy() != 0.0)


def test_a_file_with_the_layers_of_a_copy():
    """As the target network was saved before: no weights of its own."""
    target = tiny.build(target_momentum=0.5).target_encoder
    with pytest.raises(ValueError, match="saved by an earlier version"):
        target.load_own_variables({})


@pytest.mark.skipif(BACKEND == "jax", reason="TensorFlow's tape")
def test_the_target_takes_no_gradient():
    import tensorflow as tf

    model = small("byol", transformer())
    with tf.GradientTape() as tape:
        z = model.embed_target(tiny.views()[0], None, training=True)
        loss = tf.reduce_sum(z)
    weights = model.encoder.trainable_variables
    assert all(g is None for g in tape.gradient(loss, weights))


def test_a_subclass_that_was_never_called_is_sent_to_a_call():
    encoder = Subclass()
    with pytest.raises(ValueError, match="Call it once on a batch"):
        small("byol", encoder)
    # Or what `as_encoder` does.
    model = small("byol", minc_tf.models.as_encoder(encoder, tiny.SHAPE))
    assert np.isfinite(tiny.fit(model)["loss"])


def test_a_classifier_is_no_encoder():
    images = keras.Input(tiny.SHAPE)
    maps = layers.Flatten()(images)
    for top in (
        layers.Dense(4, activation="softmax")(maps),
        layers.Softmax()(layers.Dense(4)(maps)),
    ):
        inner = keras.Model(images, top)
        nested = keras.Model(images, inner(images))
        for encoder in (inner, nested):
            with pytest.raises(ValueError, match="include_top=False"):
                minc_tf.build("minc", encoder, **WIDTHS)
            with pytest.raises(ValueError, match="softmax over classes"):
                minc_tf.models.as_encoder(encoder)
