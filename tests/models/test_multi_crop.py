"""More views than two, of a smaller size."""

import keras
import numpy as np
import pytest
from gradients import BACKEND, variable_gradients
from keras import ops

from models import tiny


def crops(count=2):
    """Two views (8, 4, 4, 3), and `count` of (8, 2, 2, 3)."""
    large = tiny.views()
    small = [view[:, :2, :2] for view in tiny.views(seed=1)[:count]]
    return (*large, *small)


def embed(model, views):
    return [model.projector(model.encoder(view)) for view in views]


def step_by_hand(model, loss_of, views):
    """The weights after one step of plain gradient descent on a loss."""
    variables = model.trainable_variables
    loss, gradients = variable_gradients(lambda: loss_of(model, views), model)
    moved = [
        v.numpy() - tiny.RATE * g
        for v, g in zip(variables, gradients, strict=True)
    ]
    return float(loss), moved


def spectral(z1, z2, mu=4.0):
    def clip(z):
        norm = ops.norm(z, axis=1, keepdims=True)
        return ops.where(norm < mu**0.5, z, mu**0.5 * z / norm)

    products = clip(z1) @ ops.transpose(clip(z2))
    same = ops.diagonal(products)
    others = ops.sum(products**2) - ops.sum(same**2)
    batch = len(z1)
    return (-2 * ops.mean(same) + others / (batch * (batch - 1))) / mu


def mean_over_pairs(model, views):
    """Each of the first two with all views behind it."""
    z = embed(model, views)
    pairs = [(0, 1), *((i, j) for j in range(2, len(z)) for i in (0, 1))]
    return ops.mean(ops.stack([spectral(z[i], z[j]) for i, j in pairs]))


def cosine_to_targets(model, views):
    """Predictions of all views, targets of the other large ones."""
    z = embed(model, views)
    q = [ops.normalize(model.predictor(each)) for each in z]
    t = [ops.normalize(ops.stop_gradient(each)) for each in z[:2]]
    pairs = [(0, 1), (1, 0)]
    pairs += [(i, j) for i in range(2, len(z)) for j in (0, 1)]
    return -ops.mean(ops.stack([ops.sum(q[i] * t[j], 1) for i, j in pairs]))


@pytest.mark.parametrize("count", [1, 2] if BACKEND == "tensorflow" else [2])
def test_objective_over_batches_sees_one_pair_of_views_at_a_time(count):
    model = tiny.build("spectral", pooled=True)
    loss, expected = step_by_hand(model, mean_over_pairs, crops(count))
    logs = model.fit(tiny.batch_of(crops(count)), verbose=0).history
    np.testing.assert_allclose(logs["loss"], [loss], rtol=1e-5)
    weights = [v.numpy() for v in model.trainable_variables]
    tiny.assert_close(weights, expected, 1e-5)


@pytest.mark.parametrize("count", [1, 2] if BACKEND == "tensorflow" else [2])
def test_targets_come_from_the_large_views(count):
    model = tiny.build("cosine", pooled=True, predictor=True)
    loss, expected = step_by_hand(model, cosine_to_targets, crops(count))
    logs = model.fit(tiny.batch_of(crops(count)), verbose=0).history
    np.testing.assert_allclose(logs["loss"], [loss], rtol=1e-5)
    weights = [v.numpy() for v in model.trainable_variables]
    tiny.assert_close(weights, expected, 1e-5)


def test_second_moment_is_of_all_pairs():
    model = tiny.build("minc", pooled=True)
    z = [np.array(each) for each in embed(model, crops())]
    pairs = [(z[0], z[1])] + [(z[i], z[j]) for j in (2, 3) for i in (0, 1)]
    moments = [(a.T @ a + b.T @ b) / (2 * tiny.BATCH) for a, b in pairs]
    model.fit(tiny.batch_of(crops()), verbose=0)
    tiny.assert_close(
        [model.objective.second_moment.numpy()],
        [np.mean(moments, axis=0)],
        1e-5,
    )


def test_weight_regularisers_count_once():
    decay = keras.regularizers.L2(0.1)
    plain, decayed = (
        tiny.build("spectral", pooled=True, kernel_regularizer=regularizer)
        for regularizer in (None, decay)
    )
    extra = float(decay(decayed.encoder.get_layer("dense").kernel))
    losses = [
        model.evaluate(tiny.batch_of(crops()), verbose=0, return_dict=True)
        for model in (plain, decayed)
    ]
    losses = [logs["loss"] for logs in losses]
    np.testing.assert_allclose(losses[1] - losses[0], extra, rtol=1e-4)
