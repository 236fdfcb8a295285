"""Barlow Twins against NumPy, one pair of dimensions at a time."""

import numpy as np
import pytest
from gradients import differentiated, needs_tensorflow

from minc_tf.objectives.barlow_twins import BarlowTwins
from objectives.harness import (
    SIZES,
    assert_close,
    directions_of,
    embeddings,
    finite_differences,
    first_steps,
    loss_and_gradients,
    run_objective_test,
    run_reference_test,
    run_setting_test,
)


def slow_loss(z1, z2, weight):
    deviations1 = [column - np.mean(column) for column in z1.T]
    deviations2 = [column - np.mean(column) for column in z2.T]
    deviation1 = [np.sqrt(np.mean(x * x) + 1e-5) for x in deviations1]
    deviation2 = np.sqrt([np.mean(x * x) + 1e-5 for x in deviations2])
    loss = 0.0
    for i, x in enumerate(deviations1):
        products = np.mean(x * np.array(deviations2), axis=1)
        row = products / (deviation1[i] * deviation2)
        loss += (row[i] - 1.0) ** 2 + weight * np.sum(np.delete(row, i) ** 2)
    return loss


def whitened(batch, dim):
    """Embeddings of mean zero, variance one and covariance zero."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(batch, dim))
    z, _ = np.linalg.qr(z - np.mean(z, axis=0))
    return (np.sqrt(batch) * z).astype("float32")


def test_passes_the_checks_of_every_objective():
    run_objective_test(BarlowTwins, {"redundancy_weight": 2})
    run_setting_test(BarlowTwins, {"redundancy_weight": 0.0})


@pytest.mark.parametrize("weight", [0.0051, 1.0])
@pytest.mark.parametrize("batch, dim", [s for s in SIZES if s[0] > 2])
def test_value_and_gradient_equal_those_of_numpy(batch, dim, weight):
    run_reference_test(
        BarlowTwins(redundancy_weight=weight),
        lambda z1, z2: slow_loss(z1, z2, weight),
        batch,
        dim,
    )


@pytest.mark.parametrize("weight", [0.0051, 1.0])
@pytest.mark.parametrize("dim", [1, 16, 130])
def test_two_pairs(dim, weight):
    """Standardised they are 1 and -1, up to the epsilon.

    The gradient is what the epsilon leaves when all else cancels, so that
    float32 has fewer of its digits than in larger batches.
    """
    z1, z2 = embeddings(2, dim)
    objective = BarlowTwins(redundancy_weight=weight)
    loss, gradient, _ = first_steps(objective, dim)(z1, z2)
    z1, z2 = z1.astype("float64"), z2.astype("float64")
    expected = slow_loss(z1, z2, weight)
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-6)
    directions = directions_of(2, dim)
    slopes = finite_differences(
        lambda z: slow_loss(z, z2, weight), z1, directions
    )
    found = np.einsum("bd,nbd->n", gradient.astype("float64"), directions)
    assert_close(found, slopes, tolerance=1e-3, floor=0.5)


def test_equal_whitened_views_are_the_minimum():
    z = whitened(32, 6)
    loss, g1, g2 = first_steps(BarlowTwins(redundancy_weight=1.0), 6)(z, z)
    np.testing.assert_allclose(loss, 0.0, atol=1e-8)
    np.testing.assert_allclose(g1, 0.0, atol=1e-5)
    np.testing.assert_allclose(g2, 0.0, atol=1e-5)


def test_opposite_whitened_views():
    """The diagonal is -1 instead of 1: the squared distance is 4 each."""
    z = whitened(32, 6)
    np.testing.assert_allclose(BarlowTwins()(z, -z), 6 * 4.0, rtol=1e-4)


def test_equal_dimensions_cost_the_redundancy():
    z = np.repeat(whitened(32, 1), 5, axis=1)
    loss = BarlowTwins(redundancy_weight=0.1)(z, z)
    np.testing.assert_allclose(loss, 0.1 * 5 * 4, rtol=1e-4)


def test_shift_and_scale_of_a_dimension_do_not_matter():
    z1, z2 = embeddings(16, 5, scale=3.0)
    rng = np.random.default_rng(1)
    scale1, scale2 = rng.uniform(0.5, 100.0, (2, 5)).astype("float32")
    shift1, shift2 = 10.0 * rng.normal(size=(2, 5)).astype("float32")
    expected = BarlowTwins()(z1, z2)
    found = BarlowTwins()(scale1 * z1 + shift1, scale2 * z2 + shift2)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_a_large_mean_costs_no_more_digits_than_the_inputs():
    """A difference of second moments would leave none of the gradient's."""
    z1, z2 = embeddings(16, 5)
    first_step = first_steps(BarlowTwins(), 5)
    here = first_step(z1, z2)
    there = first_step(z1 + 1e3, z2 + 1e3)
    for found, expected in zip(there, here, strict=True):
        assert_close(found, expected, tolerance=1e-3)


def test_batch_of_one_pair():
    z1, z2 = embeddings(1, 3)
    with pytest.raises(ValueError, match=r"at least 2 pairs; received 1\."):
        BarlowTwins()(z1, z2)


@needs_tensorflow("a batch of one pair is refused where its size is known")
@pytest.mark.parametrize("jit", [False, True])
def test_unknown_batch(jit):
    """Many pairs as if known; one, left over in `fit`, poisons no weights."""
    objective = BarlowTwins()
    objective.build((None, 3))
    step = differentiated(
        lambda z1, z2: objective(z1, z2, training=True),
        objective,
        jit,
        shape=(None, 3),
    )
    pair = embeddings(8, 3)
    expected = loss_and_gradients(BarlowTwins(), *pair)
    for found, value in zip(step(*pair), expected, strict=True):
        assert_close(found, value)

    loss, g1, g2 = step(*embeddings(1, 3))
    np.testing.assert_allclose(loss, 3.0, rtol=1e-6)
    np.testing.assert_array_equal(g1, 0.0)
    np.testing.assert_array_equal(g2, 0.0)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1", None])
def test_redundancy_weight_out_of_range(value):
    message = f"BarlowTwins: redundancy_weight must be .*{value!r}"
    with pytest.raises(ValueError, match=message):
        BarlowTwins(redundancy_weight=value)
