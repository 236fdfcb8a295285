"""TiCo against NumPy, one pair at a time."""

import keras
import numpy as np
import pytest
from gradients import variable_gradients
from models import tiny

import minc_tf
from minc_tf.diagnostics import exchanged_bytes
from minc_tf.objectives import OBJECTIVES, TiCo
from objectives.harness import (
    SIZES,
    assert_close,
    directions_of,
    embeddings,
    finite_differences,
    loss_and_gradients,
    run_objective_test,
    run_reference_test,
    run_setting_test,
    state,
)


class SlowTiCo:
    """The method in float64, sample by sample."""

    def __init__(self, dim, rho=8.0, beta=0.9):
        self.rho = rho
        self.beta = beta
        self.covariance = np.zeros((dim, dim))

    def moved(self, z1):
        """C with a batch in it."""
        batch = sum(np.outer(z, z) / (z @ z) for z in z1) / len(z1)
        return self.beta * self.covariance + (1 - self.beta) * batch

    def loss(self, z1, z2):
        """The loss of a batch; a function of all of z1, C's part included."""
        covariance, total = self.moved(z1), 0.0
        for first, second in zip(z1, z2, strict=True):
            first = first / np.linalg.norm(first)
            second = second / np.linalg.norm(second)
            total += self.rho * first @ covariance @ first - first @ second
        return total / len(z1)


def test_name_in_settings():
    assert OBJECTIVES["tico"] is TiCo
    assert minc_tf.models.METHODS["tico"].objective is TiCo


def test_passes_the_checks_of_every_objective():
    run_objective_test(TiCo, {"rho": 20.0}, symmetric=False)
    run_setting_test(TiCo, {"beta": 0.0, "rho": 0}, symmetric=False)


@pytest.mark.parametrize("batch, dim", [(1, 5), *SIZES])
def test_value_and_gradient_equal_those_of_numpy(batch, dim):
    """C starts at zero: that of a first batch is a tenth of its moment."""
    run_reference_test(TiCo(), SlowTiCo(dim).loss, batch, dim)


@pytest.mark.parametrize("rho, beta", [(8.0, 0.9), (20.0, 0.5), (3.0, 0.0)])
def test_steps_follow_the_recurrence(rho, beta):
    """Loss, both gradients and C; older parts of C are constants."""
    objective, slow = TiCo(rho=rho, beta=beta), SlowTiCo(4, rho, beta)
    directions = directions_of(6, 4)
    for seed in range(4):
        z1, z2 = embeddings(6, 4, seed)
        loss, *found = loss_and_gradients(objective, z1, z2)
        z1, z2 = z1.astype("float64"), z2.astype("float64")
        np.testing.assert_allclose(loss, slow.loss(z1, z2), rtol=1e-5)
        for gradient, function, z in (
            (found[0], lambda z, z2=z2: slow.loss(z, z2), z1),
            (found[1], lambda z, z1=z1: slow.loss(z1, z), z2),
        ):
            slopes = finite_differences(function, z, directions)
            assert_close(gradient.ravel(), slopes)
        slow.covariance = slow.moved(z1)
        assert_close(objective.covariance.numpy(), slow.covariance)


def test_gradient_in_closed_form():
    """Through the normalisation, C's new part and the one it multiplies."""
    objective = TiCo(rho=5.0, beta=0.6)
    objective(*embeddings(8, 3, 1), training=True)
    old = objective.covariance.numpy()
    z1, z2 = embeddings(8, 3)
    _, gradient, _ = loss_and_gradients(objective, z1, z2)

    norms = np.linalg.norm(z1, axis=1, keepdims=True)
    unit1, unit2 = z1 / norms, z2 / np.linalg.norm(z2, axis=1, keepdims=True)
    moment = unit1.T @ unit1 / 8
    pushed = 2 * 5.0 / 8 * unit1 @ (0.6 * old + 2 * 0.4 * moment)
    total = pushed - unit2 / 8
    along = np.sum(total * unit1, axis=1, keepdims=True) * unit1
    assert_close(gradient, (total - along) / norms)


def test_equal_embeddings_cost_what_uncorrelated_ones_do_not():
    """<C, C> is 1 for one direction and 1/d for all alike, once C is there."""
    axes = np.eye(4, dtype="float32")
    for z, covariance in (
        (axes, np.eye(4) / 4),
        (np.tile(axes[:1], (4, 1)), np.diag([1.0, 0.0, 0.0, 0.0])),
    ):
        objective = TiCo(rho=8.0, beta=0.5)
        for _ in range(30):
            loss = objective(z, z, training=True)
        assert_close(objective.covariance.numpy(), covariance)
        expected = 8.0 * np.sum(covariance**2) - 1.0
        np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_evaluation_has_the_loss_of_training_and_keeps_nothing():
    objective = TiCo()
    objective(*embeddings(6, 4, 1), training=True)
    before, pair = state(objective)["covariance"], embeddings(6, 4)
    loss = objective(*pair, training=False)
    np.testing.assert_array_equal(state(objective)["covariance"], before)
    np.testing.assert_array_equal(objective(*pair, training=True), loss)
    assert np.abs(state(objective)["covariance"] - before).max() > 1e-3


def test_sample_weights_count_like_repeated_rows():
    counts = np.array([1, 3, 0, 2])
    rows = np.repeat(np.arange(4), counts)
    weighted, repeated = TiCo(beta=0.5), TiCo(beta=0.5)
    for seed in range(2):
        z1, z2 = embeddings(4, 3, seed)
        weights = 0.7 * counts.astype("float32")
        loss, *found = loss_and_gradients(
            weighted, z1, z2, sample_weight=weights
        )
        expected, *each = loss_and_gradients(repeated, z1[rows], z2[rows])
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        for gradient, per_row in zip(found, each, strict=True):
            summed = np.zeros_like(gradient)
            np.add.at(summed, rows, per_row)
            assert_close(gradient, summed)
        assert_close(weighted.covariance.numpy(), repeated.covariance.numpy())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("view", [0, 1])
def test_a_batch_that_is_not_finite_shows_and_is_not_kept(view, bad):
    objective, spared = TiCo(), TiCo()
    broken = embeddings(4, 3, 9)
    broken[view][2, 1] = bad
    # First of all batches, then between two.
    for seed in range(2):
        assert not np.isfinite(objective(*broken, training=True))
        pair = embeddings(4, 3, seed)
        loss = objective(*pair, training=True)
        np.testing.assert_array_equal(loss, spared(*pair, training=True))
        np.testing.assert_array_equal(
            objective.covariance.numpy(), spared.covariance.numpy()
        )


def test_both_directions_of_a_target_network_move_it_once():
    """By the mean over both views' online embeddings."""
    keras.utils.set_random_seed(1)
    model = minc_tf.TwoViewModel(
        tiny.encoder(),
        tiny.linear(tiny.FEATURES, "projector"),
        TiCo(rho=2.0),
        target_momentum=0.9,
    )
    views = tiny.views()
    slow = SlowTiCo(tiny.DIM, rho=2.0)
    online = [np.array(model(view), "float64") for view in views]
    # The target starts as a copy.
    expected = slow.loss(np.concatenate(online), np.concatenate(online[::-1]))
    loss, gradients = variable_gradients(
        lambda: model.step_loss(*views, training=True)[0], model
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert all(np.any(gradient) for gradient in gradients)
    assert_close(
        model.objective.covariance.numpy(), slow.moved(np.concatenate(online))
    )


def test_replicas_exchange_the_moment_and_the_cosine():
    """Forward and backward, and the loss; the batch does not matter."""
    for batch in (8, 4096):
        found = exchanged_bytes(TiCo(), batch, 16, replicas=4)
        assert found == {
            "all_reduce": 4 * (2 * (16 * 16 + 1) + 1),
            "all_gather": 0,
        }


@pytest.mark.parametrize(
    "argument, value",
    [
        *(("rho", v) for v in (-1.0, float("inf"), float("nan"), "8", None)),
        *(("beta", v) for v in (-0.1, 1.0, float("nan"), True, "0.9", None)),
    ],
)
def test_arguments_out_of_range(argument, value):
    with pytest.raises(ValueError, match=f"TiCo: {argument} must .*{value!r}"):
        TiCo(**{argument: value})


def test_embeddings_of_another_dimension():
    objective = TiCo()
    objective(*embeddings(4, 3))
    with pytest.raises(ValueError, match=r"the 3 dimensions .*\(4, 5\)"):
        objective(*embeddings(4, 5))
    with pytest.raises(ValueError, match=r"must be known; .*\(None, None\)"):
        TiCo().build((None, None))
