"""The one-file companion does what the library does."""

import functools
import importlib.util
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import minc_tf

PATH = pathlib.Path(__file__).parents[1] / "recipes" / "minc_minimal.py"


@pytest.fixture
def minimal():
    """The companion as a module, with batches of 16."""
    spec = importlib.util.spec_from_file_location("minc_minimal", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.BATCH, module.DIM = 16, 8
    return module


def test_same_gradient_and_second_moment(minimal):
    """Three batches through both: Lambda, gradients and information."""
    rng = np.random.default_rng(0)
    objective = minc_tf.objectives.MINC(
        dim=8,
        tracking="lead",
        rate=minimal.RATE,
        self_pairs=True,
        mu=minimal.MU,
    )
    held, trend = None, tf.zeros((8, 8))
    for _ in range(3):
        z1 = tf.constant(2 * rng.standard_normal((16, 8)), tf.float32)
        z2 = z1 + tf.constant(rng.standard_normal((16, 8)), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch([z1, z2])
            loss = objective(z1, z2, training=True)
        expected = tape.gradient(loss, [z1, z2])

        with tf.GradientTape() as tape:
            tape.watch([z1, z2])
            a, b = minimal.clip_norm(z1), minimal.clip_norm(z2)
            if held is None:  # the library starts from the first moment
                held = tf.stop_gradient(minimal.batch_moment(a, b))
            else:
                pair = tf.stop_gradient(a), tf.stop_gradient(b)
                held, trend = minimal.update(held, trend, *pair)
            own = minimal.minc_loss(a, b, held)
        found = tape.gradient(own, [z1, z2])

        np.testing.assert_allclose(held, objective.second_moment, atol=1e-5)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
        information = minimal.information(a, b, held)
        np.testing.assert_allclose(information, -loss - 1, atol=1e-4)


@pytest.mark.slow  # Both networks of the file are traced.
def test_runs(minimal, monkeypatch, capsys):
    """The whole file, on few pictures and a small network."""
    load = functools.partial(minc_tf.data.load, num_examples=256)
    monkeypatch.setattr(minc_tf.data, "load", load)
    build = minc_tf.models.small_resnet
    monkeypatch.setattr(
        minc_tf.models, "small_resnet", lambda filters: build(filters=(4, 128))
    )
    accuracy = minimal.main(steps=2)
    assert 0.0 <= accuracy <= 1.0
    assert "kNN accuracy" in capsys.readouterr().out
