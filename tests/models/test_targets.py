"""Predictors and target networks."""

import keras
import numpy as np
import pytest
from gradients import variable_gradients
from keras import ops

from models import tiny


def spectral_sum(q, t, mu):
    """The spectral loss of predictions and targets, as a (B, B) matrix."""

    def clip(z):
        norm = ops.norm(z, axis=1, keepdims=True)
        return ops.where(norm < mu**0.5, z, mu**0.5 * z / norm)

    products = clip(q) @ ops.transpose(clip(t))
    batch = len(q)
    positives = ops.diagonal(products)
    negatives = ops.sum(products**2) - ops.sum(positives**2)
    return (-2 * ops.mean(positives) + negatives / (batch * (batch - 1))) / mu


def of_target(model, layer, name):
    """The target's weight in the place of one of the encoder."""
    weight = getattr(model.encoder.get_layer(layer), name)
    (index,) = [i for i, w in enumerate(model.encoder.weights) if w is weight]
    return model.target_encoder.weights[index]


@pytest.mark.parametrize(
    "predictor, target", [(True, False), (False, True), (True, True)]
)
def test_a_step_with_targets_equals_one_by_hand(predictor, target):
    """Targets carry no gradient; each view predicts the other's."""
    model = tiny.build(
        "spectral",
        # Once in a graph.
        compile=tiny.GRAPH if predictor and target else tiny.EAGER,
        predictor=predictor,
        target_momentum=0.5 if target else None,
    )
    # A target that is not a copy any more.
    tiny.fit(model, seed=5)
    images = np.concatenate(tiny.views())

    def loss_by_hand():
        z = model.projector(model.encoder(images))
        q = model.predictor(z) if predictor else z
        t = z
        if target:
            t = model.target_projector(model.target_encoder(images))
        q1, q2 = ops.split(q, 2)
        t1, t2 = ops.split(ops.stop_gradient(t), 2)
        loss = spectral_sum(q1, t2, mu=4.0) + spectral_sum(q2, t1, mu=4.0)
        return loss / 2.0

    loss, gradients = variable_gradients(loss_by_hand, model)
    variables = model.trainable_variables
    expected = [
        v.numpy() - tiny.RATE * g
        for v, g in zip(variables, gradients, strict=True)
    ]
    logs = tiny.fit(model)
    np.testing.assert_allclose(logs["loss"], loss, rtol=1e-5)
    tiny.assert_close([v.numpy() for v in variables], expected, 1e-5)


@pytest.mark.parametrize("scheduled", [False, True])
def test_target_follows_the_moving_average(scheduled):
    momentum = 0.8
    values = [momentum] * 3
    if scheduled:
        momentum = keras.optimizers.schedules.PolynomialDecay(0.5, 4, 0.9)
        # The schedule sees the number of steps taken before.
        values = [0.5 + 0.4 * step / 4 for step in range(3)]
    model = tiny.build(predictor=True, target_momentum=momentum)
    online = [model.encoder, model.projector]
    targets = [model.target_encoder, model.target_projector]

    def weights(parts):
        return [w for part in parts for w in part.get_weights()]

    expected = weights(online)
    tiny.assert_equal(weights(targets), expected)
    for step, value in enumerate(values):
        tiny.fit(model, seed=step)
        expected = [
            value * old + (1 - value) * new
            for old, new in zip(expected, weights(online), strict=True)
        ]
        tiny.assert_close(weights(targets), expected, 1e-6)


def test_target_is_not_trained_and_keeps_statistics_of_its_own():
    model = tiny.build(norm="batch", target_momentum=0.5)
    own = model.target_encoder.weights + model.target_projector.weights
    trained = {id(v) for v in model.trainable_variables}
    assert not trained & {id(v) for v in own}
    assert len(model.trainable_variables) == len(
        model.encoder.trainable_variables
    ) + len(model.projector.trainable_variables)

    moving_mean = of_target(model, "norm", "moving_mean")
    kernel = of_target(model, "dense", "kernel").numpy()
    images = np.concatenate(tiny.views()).reshape(2 * tiny.BATCH, -1)
    outputs = (images / 127.5 - 1.0) @ kernel
    tiny.fit(model)
    np.testing.assert_allclose(
        moving_mean, 0.1 * outputs.mean(axis=0), rtol=1e-4, atol=1e-5
    )


def test_frozen_layers_of_the_encoder_stay_in_the_target():
    model = tiny.build(norm="frozen", target_momentum=0.5)
    tiny.fit(model)
    for name, value in (("gamma", 1.0), ("moving_mean", 0.0)):
        kept = of_target(model, "norm", name)
        np.testing.assert_array_equal(kept, np.full(tiny.FEATURES, value))
