"""The collapse monitor in `fit`, and a method that does collapse."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import minc_tf
from minc_tf.diagnostics import effective_rank, embedding_std
from minc_tf.evaluation import CollapseMonitor
from minc_tf.evaluation.monitors.spread import Spread

from .conftest import SHAPE, make_batches

DIM = 6
LOGGER = "minc_tf.evaluation.monitors.collapse_monitor"


def kernels():
    """Weights of `Embedder` by the shape of the embeddings they give."""
    rng = np.random.default_rng(0)
    size = int(np.prod(SHAPE))
    healthy = rng.normal(size=(size, DIM))
    # Sums of such pixels are small: the offset decides the direction.
    point = 1e-3 * healthy
    line = rng.normal(size=(size, 1)) * rng.normal(size=(1, DIM))
    return {
        "healthy": (healthy, np.zeros(DIM)),
        "point": (point, np.ones(DIM)),
        "zero": (0.0 * healthy, np.zeros(DIM)),
        "line": (line, np.zeros(DIM)),
    }


class Embedder(keras.Model):
    """Embeddings of a chosen shape, with a loss of no consequence."""

    def __init__(self):
        super().__init__()
        self.scale = layers.Rescaling(1 / 127.5, -1.0)
        self.flatten = layers.Flatten()
        self.dense = layers.Dense(DIM)

    def call(self, x, training=False):
        return self.dense(self.flatten(self.scale(x)))

    def take(self, shape):
        self.dense.set_weights(kernels()[shape])


class Script(keras.callbacks.Callback):
    """Gives the model the shape of each epoch, before it is measured."""

    def __init__(self, shapes):
        super().__init__()
        self.shapes = shapes

    def on_epoch_end(self, epoch, logs=None):
        self.model.take(self.shapes[epoch])


@pytest.fixture
def batches():
    """Images without classes: noise around the same grey."""
    return make_batches(80, classes=1, batch_size=32).map(
        lambda batch: {**batch, "image": tf.cast(batch["image"], tf.int32) + 88}
    )


def watch(batches, *shapes, **kwargs):
    """A monitor behind epochs in which the embeddings have these shapes."""
    model = Embedder()
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    images = np.random.default_rng(1).uniform(0, 255, (4, *SHAPE))
    monitor = CollapseMonitor(batches)
    history = model.fit(
        images,
        np.zeros((4, DIM)),
        epochs=len(shapes),
        callbacks=[Script(shapes), monitor],
        verbose=0,
        **kwargs,
    )
    return monitor, model, history.history


def warnings_of(caplog):
    """The messages of the monitor."""
    records = [r for r in caplog.records if r.name == LOGGER]
    assert all(r.levelno == logging.WARNING for r in records)
    return [r.getMessage() for r in records]


def test_logs_hold_both_numbers(batches, caplog):
    monitor, model, history = watch(batches, "line", "point", "healthy")
    assert len(history["embedding_std"]) == len(history["embedding_rank"]) == 3
    images = np.concatenate([batch["image"] for batch in batches])
    assert len(images) == 80
    embeddings = model.predict(images.astype("float32"), verbose=0)
    np.testing.assert_allclose(
        history["embedding_std"][-1], embedding_std(embeddings), rtol=1e-5
    )
    np.testing.assert_allclose(
        history["embedding_rank"][-1], effective_rank(embeddings), rtol=1e-4
    )
    assert isinstance(history["embedding_std"][-1], float)
    assert monitor.reason == ""


def test_healthy_embeddings_are_silent(batches, caplog):
    monitor, _model, history = watch(batches, "healthy", "healthy")
    assert history["embedding_std"][-1] > 0.5
    assert history["embedding_rank"][-1] > 3.0
    assert warnings_of(caplog) == []
    assert monitor.reason == ""


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("point", "point the same way (spread 0.0"),
        ("zero", "point the same way (spread 0.000 of 1)"),
        ("line", "lie on a line (effective rank 1.00 of 6 dimensions)"),
    ],
)
def test_a_collapse_is_reported_once(batches, caplog, shape, words):
    monitor, _model, _history = watch(batches, "healthy", shape, shape, shape)
    (message,) = warnings_of(caplog)
    assert message.startswith("epoch 2: the embeddings ")
    assert words in message
    assert words in monitor.reason


def test_recovery_clears_the_reason_and_arms_the_warning(batches, caplog):
    monitor, _model, _history = watch(batches, "point", "point", "healthy")
    assert monitor.reason == ""
    assert len(warnings_of(caplog)) == 1
    caplog.clear()
    watch(batches, "point", "healthy", "healthy", "line")
    first, second = warnings_of(caplog)
    assert first.startswith("epoch 1: ")
    assert second.startswith("epoch 4: ")


def test_resumed_fit_counts_epochs_from_the_start(batches, caplog):
    shapes = ["healthy"] * 4 + ["line"]
    watch(batches, *shapes, initial_epoch=3)
    (message,) = warnings_of(caplog)
    assert message.startswith("epoch 5: ")


def test_endless_data_stop_fit_before_it_starts(batches):
    with pytest.raises(ValueError, match="repeats forever"):
        watch(batches.repeat(), "healthy")


@pytest.mark.parametrize(
    ("std", "rank", "margin"),
    [(0.02, 9.0, 0.2), (0.3, 1.01, 0.2), (0.3, 2.0, 20.0), (0.1, 1.05, 1.0)],
)
def test_the_margin_is_below_one_where_there_is_a_reason(std, rank, margin):
    spread = Spread(std, rank, dim=8)
    assert spread.margin == pytest.approx(margin)
    assert bool(spread.reason) == (margin < 1.0)


class WithoutStopGradient(minc_tf.TwoViewModel):
    """What SimSiam is careful not to be."""

    def embed_target(self, images, embeddings, training):
        return embeddings


def train_simsiam(cls, images):
    """Trains on noisy copies of images; returns the monitor and the logs."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(images.shape[1:])
    x = layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = layers.Dense(32)(layers.Flatten()(x))
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    model = cls(
        keras.Model(inputs, x),
        # Normalised outputs could not all be the same.
        minc_tf.models.mlp(32, (32, 16), norm=None),
        minc_tf.objectives.NegativeCosine(),
        predictor=minc_tf.models.mlp(16, (8, 16), name="predictor"),
    )
    model.compile(keras.optimizers.SGD(1.0, momentum=0.9))
    rng = np.random.default_rng(1)
    views = [
        np.clip(images + 20 * rng.normal(size=images.shape), 0, 255)
        for _ in range(2)
    ]
    data = {"image": images, "label": np.zeros(len(images), "int64")}
    monitor = CollapseMonitor(
        tf.data.Dataset.from_tensor_slices(data).batch(128)
    )
    history = model.fit(
        *views, batch_size=64, epochs=16, verbose=0, callbacks=[monitor]
    )
    return monitor, history.history


def test_simsiam_collapses_without_its_stop_gradient(caplog):
    images = np.random.default_rng(0).uniform(0, 255, (256, 8, 8, 3))
    monitor, healthy = train_simsiam(minc_tf.TwoViewModel, images)
    assert monitor.reason == ""
    assert warnings_of(caplog) == []
    assert healthy["embedding_std"][-1] > 0.5

    monitor, collapsed = train_simsiam(WithoutStopGradient, images)
    assert "point the same way" in monitor.reason
    assert len(warnings_of(caplog)) == 1
    assert collapsed["embedding_std"][-1] < 0.2 * healthy["embedding_std"][-1]
    # Collapse is the better solution of a loss that is not stopped.
    assert collapsed["loss"][-1] < healthy["loss"][-1]
