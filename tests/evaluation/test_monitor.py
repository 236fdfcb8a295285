"""The kNN monitor in `fit`."""

import csv

import keras
import numpy as np
import pytest

from minc_tf.evaluation import KNNMonitor, extract, knn_accuracy
from minc_tf.models import recompute_statistics

from .conftest import SHAPE, make_batches


class Toy(keras.Model):
    """Something with an `encoder` that trains."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def call(self, x, training=False):
        return self.encoder(x, training=training)


def fit(model, callbacks, epochs=5, **settings):
    toy = Toy(model.encoder)
    toy.compile("sgd", "mse")
    x = np.random.default_rng(0).uniform(0, 255, (8, *SHAPE))
    y = np.random.default_rng(1).normal(size=(8, 8))
    return toy.fit(
        x, y, epochs=epochs, callbacks=callbacks, verbose=0, **settings
    )


def data():
    return make_batches(50), make_batches(30, seed=1)


def test_accuracy_lands_in_logs_history_and_csv(model, tmp_path):
    train, test = data()
    monitor = KNNMonitor(train, test, every=2, k=7, temperature=0.2)
    expected = []

    class Direct(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            one, two = (
                extract(model.encoder, train),
                extract(model.encoder, test),
            )
            expected.append(knn_accuracy(*one, *two, k=7, temperature=0.2))

    log = tmp_path / "log.csv"
    history = fit(
        model, [monitor, keras.callbacks.CSVLogger(log), Direct()], epochs=5
    )
    # The first, every second, the last.
    assert monitor.history["epoch"] == [0, 1, 3, 4]
    measured = [expected[e] for e in (0, 1, 3, 4)]
    assert monitor.history["knn_accuracy"] == measured
    assert history.history["knn_accuracy"] == measured
    with open(log) as file:
        rows = [row["knn_accuracy"] for row in csv.DictReader(file)]
    assert rows[2] == "NA"
    del rows[2]
    assert [float(row) for row in rows] == measured


def test_measure_before_training_and_resumed_run(model):
    monitor = KNNMonitor(*data(), every=4, k=7)
    monitor.set_model(Toy(model.encoder))
    before = monitor.measure()
    assert 0 <= before <= 1
    fit(model, [monitor], epochs=8, initial_epoch=4)
    # As if it had not been interrupted.
    assert monitor.history["epoch"] == [7]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"every": 0}, ValueError, "every must be an int >= 1; received 0"),
        ({"every": 1.5}, TypeError, "every must be an int .*received 1.5"),
    ],
)
def test_bad_arguments(settings, error, message):
    with pytest.raises(error, match=message):
        KNNMonitor(*data(), **settings)


def test_bad_data_stop_fit_before_it_starts(model):
    train, test = data()
    weights = model.encoder.get_weights()

    def refuses(message, train, test, k=5):
        with pytest.raises(ValueError, match=message):
            fit(model, [KNNMonitor(train, test, k=k)])
        for a, b in zip(weights, model.encoder.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    refuses("received 200", train, test, k=200)
    refuses("images must have shape", train, make_batches(shape=(9, 9, 3)))
    refuses("repeats forever", train.repeat(), test)
    unlabelled = test.map(lambda b: {**b, "label": b["label"] * 0 - 1})
    refuses("test_batches .*unlabelled", train, unlabelled)


def test_statistics_that_lag_are_not_measured():
    inputs = keras.Input(SHAPE)
    x = keras.layers.Flatten()(inputs)
    x = keras.layers.BatchNormalization(momentum=0.999, name="norm")(x)
    encoder = keras.Model(inputs, keras.layers.Activation("tanh")(x))
    train, test = data()
    monitor = KNNMonitor(train, test, k=7)
    monitor.set_model(Toy(encoder))
    # Of the first steps hardly anything: each pixel saturates.
    lagging = [each.numpy() for each in encoder.get_layer("norm").weights]
    found = monitor.measure()
    for variable, value in zip(
        encoder.get_layer("norm").weights, lagging, strict=True
    ):
        np.testing.assert_array_equal(variable, value)
    stale = knn_accuracy(*extract(encoder, train), *extract(encoder, test), k=7)
    recompute_statistics(encoder, train.take(3))  # the fourth has two images
    expected = knn_accuracy(
        *extract(encoder, train), *extract(encoder, test), k=7
    )
    assert found == expected != stale
