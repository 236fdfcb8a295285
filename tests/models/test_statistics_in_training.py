"""Statistics of batch normalisation while a model is trained and measured."""

import keras
import numpy as np
import pytest
from keras import layers

from minc_tf.models import (
    RecomputeStatistics,
    TwoViewModel,
    recompute_statistics,
    recomputed_statistics,
)
from minc_tf.models.statistics import present_statistics, warm_statistics
from models import tiny
from models.test_statistics import batches, network, norms, slow, statistics


@pytest.mark.parametrize("momentum", [0.999, 0.5])
def test_moving_statistics_of_a_young_model_follow(momentum):
    model = TwoViewModel(
        network(momentum), tiny.linear(5, "head"), tiny.objective("spectral")
    )
    model.compile(keras.optimizers.SGD(0.0), **tiny.EAGER)
    tiny.fit(model, batches=7)
    view1, view2 = tiny.views(7)
    mean = np.zeros(5)
    for step in range(7):
        rows = slice(tiny.BATCH * step, tiny.BATCH * (step + 1))
        both = np.concatenate([view1[rows], view2[rows]])
        limit = max((1 + step) / (10 + step), 0.9)
        used = min(momentum, limit)
        found, _ = slow(model.encoder, both)["outer"]
        mean = used * mean + (1 - used) * found
    outer = norms(model.encoder)["outer"]
    np.testing.assert_allclose(outer.moving_mean, mean, rtol=1e-3, atol=1e-5)
    assert outer.momentum == momentum


def test_the_lag_is_a_tenth_of_the_steps_taken():
    model = TwoViewModel(
        network(0.999), tiny.linear(5, "head"), tiny.objective("spectral")
    )
    model.steps.assign(1000)
    images = np.concatenate(tiny.views())
    model.embed_online(images, training=True)
    found, _ = slow(model.encoder, images)["outer"]
    outer = norms(model.encoder)["outer"]
    np.testing.assert_allclose(
        outer.moving_mean, 9 / 1010 * found, rtol=1e-3, atol=1e-5
    )


def test_replicas_are_in_a_step_at_once():
    model, steps = network(0.999), keras.Variable(0, dtype="int32")
    one, other = warm_statistics(model, steps), warm_statistics(model, steps)
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    images = np.concatenate(tiny.views())
    model(images, training=True)
    other.__exit__(None, None, None)
    found, _ = slow(model, images)["outer"]
    outer = norms(model)["outer"]
    np.testing.assert_allclose(
        outer.moving_mean, 0.1 * found, rtol=1e-3, atol=1e-5
    )
    assert outer.momentum == 0.999


def test_measurements_recompute_what_was_trained_since():
    model = network()
    (given,) = batches([8])
    before = statistics(model)
    with present_statistics(model, [given]):
        inside = statistics(model)
    tiny.assert_equal(statistics(model)["outer"], before["outer"])
    recompute_statistics(model, [given])
    tiny.assert_equal(statistics(model)["outer"], inside["outer"])
    with present_statistics(model, [1.0 - given]):  # they are those of now
        tiny.assert_equal(statistics(model)["outer"], inside["outer"])
    model(given, training=True)
    with present_statistics(model, [1.0 - given]):
        others = statistics(model)["outer"]
    assert not np.allclose(others[0], inside["outer"][0])


def test_measurements_take_a_part_of_many_images():
    taken = []

    class Counting(keras.Model):
        def __init__(self):
            super().__init__()
            self.norm = layers.BatchNormalization()

        def call(self, x, training=False):
            taken.append(len(x))
            return self.norm(x[:, 0, 0], training=training)

    model = Counting()
    images = np.ones((700, *tiny.SHAPE), "float32")
    model(images[:2])
    del taken[:]

    def endless():
        while True:
            yield {"image": images}

    with present_statistics(model, endless()):
        assert taken == [256, 256, 188, 256]
    del taken[:]
    with present_statistics(model, [(images[:300], images[:300])]):
        assert taken == [256]
    del taken[:]
    with present_statistics(model, [images[:256], images[:14]]):
        assert taken == [256]  # 14 images would count as much as 256


def test_callback_leaves_those_of_the_epochs_last_weights():
    model = tiny.build("spectral", norm="live")
    given = batches([8, 8])
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            with recomputed_statistics(self.model, given):
                expected = statistics(self.model)["norm"]
            seen.append((statistics(self.model)["norm"], expected))

    tiny.fit(model, epochs=2, callbacks=[RecomputeStatistics(given), Look()])
    assert len(seen) == 2
    for found, expected in seen:
        tiny.assert_close(found, expected, 1e-6)
    tiny.assert_equal(statistics(model)["norm"], seen[-1][0])


def test_callback_follows_averaged_weights():
    model = tiny.build(
        "cosine",
        optimizer=keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5),
        norm="frozen",
    )
    model.encoder.get_layer("norm").trainable = True
    with pytest.warns(UserWarning, match="use_ema"):
        model.compile(model.optimizer, **tiny.EAGER)
    given = batches([8])
    tiny.fit(model, batches=3, callbacks=[RecomputeStatistics(given)])
    found = statistics(model)["norm"]
    recompute_statistics(model, given)
    tiny.assert_close(found, statistics(model)["norm"], 1e-6)
