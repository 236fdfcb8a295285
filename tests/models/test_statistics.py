"""Statistics of batch normalisation that are recomputed."""

import keras
import numpy as np
import pytest
from gradients import BACKEND
from keras import layers

from minc_tf.models import recompute_statistics, recomputed_statistics
from models import tiny

EPSILON = 1e-3


def batches(sizes=(8, 8, 4), seed=0):
    """Batches of noise images, of one size each."""
    rng = np.random.default_rng(seed)
    return [
        rng.uniform(0, 255, (size, *tiny.SHAPE)).astype("float32")
        for size in sizes
    ]


def network(momentum=0.99, **norm):
    """Two linear layers, the inner one in a model inside a model."""
    keras.utils.set_random_seed(4)
    features = keras.Input((6,))
    x = layers.BatchNormalization(
        momentum=momentum, epsilon=EPSILON, name="inner", **norm
    )(features)
    inner = keras.Model(features, layers.Activation("tanh")(x), name="block")
    images = keras.Input(tiny.SHAPE)
    x = layers.Rescaling(1 / 127.5, -1.0)(images)
    x = layers.Dense(6, name="first")(layers.Flatten()(x))
    x = keras.Sequential([inner], name="nested")(x)
    x = layers.Dense(5, name="second")(x)
    x = layers.BatchNormalization(
        momentum=momentum, epsilon=EPSILON, name="outer"
    )(x)
    return keras.Model(images, x, name="encoder")


def norms(model):
    """The batch normalisations of a model by name."""
    return {
        layer.name: layer
        for layer in model._flatten_layers()
        if isinstance(layer, layers.BatchNormalization)
    }


def statistics(model):
    return {
        name: (layer.moving_mean.numpy(), layer.moving_variance.numpy())
        for name, layer in norms(model).items()
    }


def slow(model, images):
    """Mean and variance at both normalisations, in float64."""

    def dense(name, x):
        kernel, bias = model.get_layer(name).get_weights()
        return x @ kernel.astype("float64") + bias

    x = images.astype("float64").reshape(len(images), -1) / 127.5 - 1.0
    x = dense("first", x)
    inner = x.mean(axis=0), x.var(axis=0)
    x = np.tanh((x - inner[0]) / np.sqrt(inner[1] + EPSILON))
    x = dense("second", x)
    return {"inner": inner, "outer": (x.mean(axis=0), x.var(axis=0))}


@pytest.mark.parametrize("momentum", [0.9, 0.999, 1.0, 0.0])
def test_the_mean_over_batches_whatever_the_momentum(momentum):
    model = network(momentum)
    given = batches()
    before = {name: v.numpy() for name, v in kept(model)}
    assert recompute_statistics(model, iter(given)) == 3
    found = statistics(model)
    each = [slow(model, images) for images in given]
    for name, (mean, variance) in found.items():
        expected = np.mean([b[name][0] for b in each], axis=0)
        np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-5)
        expected = np.mean([b[name][1] for b in each], axis=0)
        np.testing.assert_allclose(variance, expected, rtol=1e-4, atol=1e-5)
    again = network(0.5)
    recompute_statistics(again, given)
    for name, pair in statistics(again).items():
        tiny.assert_equal(pair, found[name])
    assert norms(model)["outer"].momentum == momentum
    for name, variable in kept(model):
        np.testing.assert_array_equal(variable.numpy(), before[name])


def kept(model):
    """Variables that are no moving statistics, by path."""
    return [
        (variable.path, variable)
        for variable in model.variables
        if "moving" not in variable.path
    ]


def test_one_batch_gives_what_it_has_in_training():
    model = network()
    (images,) = batches([8])
    recompute_statistics(model, [images])
    np.testing.assert_allclose(
        model(images, training=False),
        model(images, training=True),
        rtol=1e-4,
        atol=1e-4,
    )


def test_frozen_statistics_stay():
    model = network()
    norms(model)["inner"].trainable = False
    before = statistics(model)
    recompute_statistics(model, batches())
    after = statistics(model)
    tiny.assert_equal(after["inner"], before["inner"])
    assert (after["outer"][0] != before["outer"][0]).all()
    model.trainable = False
    assert recompute_statistics(model, batches()) == 0
    tiny.assert_equal(statistics(model)["outer"], after["outer"])


class AtRest(layers.Layer):
    """A block that is called for inference, whatever is trained."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def call(self, x):
        return self.block(x, training=False)


def test_a_block_that_is_called_for_inference_stays():
    block = network()
    own = layers.BatchNormalization(name="own")
    images = keras.Input(tiny.SHAPE)
    model = keras.Model(images, own(AtRest(block)(images)))
    before = statistics(block)
    recompute_statistics(model, batches())
    tiny.assert_equal(statistics(block)["outer"], before["outer"])
    expected = np.mean([np.mean(block(b), axis=0) for b in batches()], axis=0)
    np.testing.assert_allclose(own.moving_mean, expected, rtol=1e-4, atol=1e-5)


def test_a_layer_that_is_called_twice_has_the_mean_of_both():
    norm = layers.BatchNormalization(name="both")
    images = keras.Input(tiny.SHAPE)
    x = layers.Flatten()(images)
    outputs = layers.Add()([norm(x), norm(2 * x)])
    recompute_statistics(keras.Model(images, outputs), batches([8]))
    flat = batches([8])[0].reshape(8, -1)
    np.testing.assert_allclose(norm.moving_mean, 1.5 * flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(
        norm.moving_variance, 2.5 * flat.var(0), rtol=1e-3
    )


def test_batch_renormalisation_keeps_its_three_in_step():
    model = network(renorm=True)
    before = norms(model)["inner"].renorm_mean.numpy()
    with recomputed_statistics(model, batches([8])):
        layer = norms(model)["inner"]
        mean, variance = slow(model, batches([8])[0])["inner"]
        np.testing.assert_allclose(layer.moving_mean, mean, atol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-3)
        np.testing.assert_allclose(
            layer.moving_stddev, np.sqrt(variance + EPSILON), rtol=1e-3
        )
        np.testing.assert_array_equal(layer.renorm_mean, before)
    np.testing.assert_array_equal(layer.moving_stddev, np.ones(6))


class Noisy(layers.Layer):
    """Counts and adds noise and a loss, as a layer may in training."""

    def __init__(self):
        super().__init__()
        self.noise = keras.random.SeedGenerator(2)
        self.seen = keras.metrics.Mean(name="seen")

    def build(self, input_shape):
        self.count = self.add_weight(
            shape=(), initializer="zeros", trainable=False
        )

    def call(self, x, training=False):
        if training:
            self.count.assign_add(1.0)
            self.seen.update_state(keras.ops.mean(x))
            self.add_loss(keras.ops.mean(x))
            x += keras.random.normal(keras.ops.shape(x), seed=self.noise)
        return x


def test_all_else_that_training_changes_stays():
    noisy = Noisy()
    model = keras.Sequential(
        [
            keras.Input(tiny.SHAPE),
            layers.Flatten(),
            noisy,
            layers.Dropout(0.5, seed=1),
            layers.BatchNormalization(momentum=0.999),
        ]
    )
    model(batches([8])[0])
    model(batches([8])[0], training=True)
    before = {variable.path: variable.numpy() for variable in model.variables}
    first = recomputed(model)
    assert not model.losses
    for variable in model.variables:
        if "moving" not in variable.path:
            np.testing.assert_array_equal(
                variable.numpy(), before[variable.path]
            )
    # The same images again have other noise, whose seed is the same.
    tiny.assert_equal(recomputed(model), first)
    alone = recomputed(model, batches([8]))
    assert (first[0] != alone[0]).any()


def recomputed(model, given=None):
    """Statistics of a batch that is given twice."""
    recompute_statistics(model, given or batches([8]) * 2)
    return model.layers[-1].get_weights()[2:]


def test_old_statistics_come_back():
    model = tiny.build(norm="batch")
    tiny.fit(model)
    before = tiny.snapshot(model)
    with recomputed_statistics(model.encoder, batches()) as count:
        assert count == 3
        inside = statistics(model)["norm"]
        assert (inside[0] != before[2]).all()
    tiny.assert_equal(tiny.snapshot(model), before)
    with pytest.raises(KeyError), recomputed_statistics(model, batches()):
        raise KeyError
    tiny.assert_equal(tiny.snapshot(model), before)
    # Of the whole model, which takes pixels as the encoder does here.
    recompute_statistics(model, batches())
    tiny.assert_equal(statistics(model)["norm"], inside)


def test_training_goes_on_as_if_nothing_had_been():
    first, second = (tiny.build(norm="batch", dropout=0.3) for _ in range(2))
    tiny.fit(first)
    tiny.fit(first, seed=1)
    tiny.fit(second)
    with recomputed_statistics(second, batches()):
        pass
    tiny.fit(second, seed=1)
    tiny.assert_equal(tiny.snapshot(first), tiny.snapshot(second))


def test_statistics_stay_float32_where_the_network_is_not():
    expected, model = network(), network()
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.dtype_policy = "mixed_bfloat16"
    recompute_statistics(expected, batches())
    recompute_statistics(model, batches())
    for name, pair in statistics(model).items():
        assert pair[0].dtype == pair[1].dtype == np.float32
        tiny.assert_close(pair, statistics(expected)[name], 0.05)


def test_pipelines_of_integers_and_of_labelled_images():
    whole = [np.rint(images).astype("uint8") for images in batches((8, 8))]
    model = network()
    recompute_statistics(model, [b.astype("float32") for b in whole])
    expected = statistics(model)["outer"]
    recompute_statistics(model, [{"image": b, "label": 0} for b in whole])
    tiny.assert_equal(statistics(model)["outer"], expected)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        images = tf.data.Dataset.from_tensor_slices(np.concatenate(whole))
        recompute_statistics(model, images.batch(8))
        tiny.assert_equal(statistics(model)["outer"], expected)


def test_a_model_without_statistics_takes_no_batch():
    def never():
        raise AssertionError
        yield

    assert recompute_statistics(tiny.encoder(), never()) == 0
    with recomputed_statistics(tiny.encoder(), never()) as count:
        assert count == 0


@pytest.mark.parametrize(
    "given, error, message",
    [
        ([], ValueError, "must hold images; received none"),
        (iter(()), ValueError, "must hold images; received none"),
        ([np.zeros((0, 4, 4, 3))], ValueError, r"shape \(0, 4, 4, 3\)"),
        ([*batches(), np.zeros((0, 4, 4, 3))], ValueError, r"shape \(0, 4"),
        ([3.0], ValueError, "received float"),
        ([{"label": 1}], ValueError, "received NoneType"),
        ([tuple(batches((8, 8)))], ValueError, "received tuple"),
        (batches()[0], TypeError, "an iterable of batches.*received ndarray"),
        (None, TypeError, "received NoneType"),
        ([batches()[0] * np.nan], FloatingPointError, "inner/moving_mean"),
    ],
)
def test_what_cannot_be_recomputed_leaves_the_model_alone(
    given, error, message
):
    model = network()
    before = tiny.snapshot(model)
    with pytest.raises(error, match=message):
        recompute_statistics(model, given)
    tiny.assert_equal(tiny.snapshot(model), before)
    assert norms(model)["outer"].momentum == 0.99


def test_a_model_that_is_not_built_is_sent_to_a_call():
    model = keras.Sequential([layers.BatchNormalization()], name="new")
    with pytest.raises(ValueError, match="must be built; 'new' is not"):
        recompute_statistics(model, batches())
