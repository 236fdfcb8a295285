"""The VICReg family against NumPy, one dimension or embedding at a time."""

import numpy as np
import pytest
from gradients import differentiated, needs_tensorflow
from keras import ops

from minc_tf.objectives.vicreg import (
    VICReg,
    VICRegCtr,
    VICRegExp,
    centre,
    covariance,
    squared_redundancy,
)
from objectives.harness import (
    SIZES,
    assert_close,
    embeddings,
    first_steps,
    loss_and_gradients,
    run_objective_test,
    run_reference_test,
    run_setting_test,
)

FAMILY = [VICReg, VICRegExp, VICRegCtr]


def hinge(variances):
    return np.mean([max(0.0, 1.0 - np.sqrt(v + 1e-4)) for v in variances])


def others(matrix):
    """The rows of a square matrix, each without its diagonal entry."""
    return [np.delete(row, i) for i, row in enumerate(matrix)]


def log_sum_exp(row):
    return np.log(np.sum(np.exp(row))) if row.size else 0.0


def slow_covariance(z):
    centred = np.stack([column - np.mean(column) for column in z.T])
    # No np.cov: the threads of a matrix product wait for those of TensorFlow.
    return np.stack([np.dot(centred, x) for x in centred]) / (len(z) - 1)


def variance_term(z):
    return hinge([np.var(column, ddof=1) for column in z.T])


def regularisers(z):
    """Variance and covariance term of VICReg."""
    rows = others(slow_covariance(z))
    return variance_term(z), np.mean([np.sum(row**2) for row in rows])


def exponential_regularisers(z, temperature=0.1):
    rows = others(slow_covariance(z) / temperature)
    return variance_term(z), np.mean([*map(log_sum_exp, rows)])


def contrastive_regularisers(z, temperature=0.1):
    batch, dim = z.shape
    centred = np.stack([column - np.mean(column) for column in z.T], axis=1)
    variances = [
        np.sum((row - np.mean(row)) ** 2) / max(dim - 1, 1) for row in centred
    ]
    norms = [np.sqrt(np.dot(row, row)) for row in centred]
    cosines = np.stack(
        [
            [np.dot(centred[i], other) for other in centred]
            / (norms[i] * np.array(norms))
            for i in range(batch)
        ]
    )
    rows = others(cosines / temperature)
    return hinge(variances), np.mean([*map(log_sum_exp, rows)])


REFERENCES = dict(
    zip(
        FAMILY,
        (regularisers, exponential_regularisers, contrastive_regularisers),
        strict=True,
    )
)


def slow_loss(z1, z2, terms, weights=(25.0, 25.0, 1.0)):
    pairs = zip(z1, z2, strict=True)
    error = np.mean([np.mean((row1 - row2) ** 2) for row1, row2 in pairs])
    (v1, c1), (v2, c2) = terms(z1), terms(z2)
    values = error, (v1 + v2) / 2.0, c1 + c2
    return np.dot(weights, values)


@pytest.mark.parametrize("cls", FAMILY)
def test_passes_the_checks_of_every_objective(cls):
    kwargs = {"invariance_weight": 10.0, "variance_weight": 3}
    if cls is not VICReg:
        kwargs["temperature"] = 0.5
    run_objective_test(cls, kwargs)
    run_setting_test(cls, {"covariance_weight": 0.0})


def test_reference_of_the_covariance():
    z, _ = embeddings(9, 4)
    expected = np.cov(z, rowvar=False)
    np.testing.assert_allclose(slow_covariance(z), expected, rtol=1e-4)


@pytest.mark.parametrize("cls", FAMILY)
@pytest.mark.parametrize("batch, dim", SIZES)
def test_value_and_gradient_equal_those_of_numpy(cls, batch, dim):
    run_reference_test(
        cls(), lambda a, b: slow_loss(a, b, REFERENCES[cls]), batch, dim
    )


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("cls", [VICRegExp, VICRegCtr])
def test_temperature(cls, temperature):
    def slow(z1, z2):
        terms = REFERENCES[cls]
        return slow_loss(z1, z2, lambda z: terms(z, temperature))

    run_reference_test(cls(temperature=temperature), slow, 7, 5)


@pytest.mark.parametrize("cls", FAMILY)
@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_each_weight_has_its_term(cls, scale):
    """At scales where the hinge is active and where it is not."""
    z1, z2 = embeddings(9, 5, scale=scale)
    doubles = z1.astype("float64"), z2.astype("float64")
    names = "invariance_weight", "variance_weight", "covariance_weight"
    for weights in np.eye(3):
        objective = cls(**dict(zip(names, weights, strict=True)))
        expected = slow_loss(*doubles, REFERENCES[cls], weights)
        np.testing.assert_allclose(
            objective(z1, z2), expected, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("cls", FAMILY)
def test_variance_term_is_a_mean_over_the_two_views(cls):
    """Constant embeddings: each view's term is 1 - sqrt(1e-4)."""
    objective = cls(
        invariance_weight=0.0, variance_weight=1.0, covariance_weight=0.0
    )
    z = np.ones((6, 4), "float32")
    np.testing.assert_allclose(objective(z, z), 0.99, rtol=1e-6)


@pytest.mark.parametrize("batch, dim", [(9, 4), (4, 9), (30, 30)])
def test_covariance_term_is_the_contrastive_one_up_to_norms(batch, dim):
    """Theorem 3.3 of Garrido et al. 2023, with our term as its one side."""
    z, _ = embeddings(batch, dim)
    centred = centre(ops.convert_to_tensor(z))
    dimensions = dim * squared_redundancy(covariance(centred))

    k = np.array(centred, "float64").T / np.sqrt(batch - 1)
    samples = sum(
        np.dot(k[:, i], k[:, j]) ** 2
        for i in range(batch)
        for j in range(batch)
        if i != j
    )
    of_samples = np.sum(np.linalg.norm(k, axis=0) ** 4)
    of_dimensions = np.sum(np.linalg.norm(k, axis=1) ** 4)
    np.testing.assert_allclose(
        samples + of_samples, dimensions + of_dimensions, rtol=1e-5
    )


@pytest.mark.parametrize("cls", FAMILY)
def test_regularisers_do_not_depend_on_the_mean(cls):
    """A mean a thousand times the deviation costs three digits, not all."""
    objective = cls(invariance_weight=0.0)
    z1, z2 = embeddings(16, 5)
    first_step = first_steps(objective, 5)
    here = first_step(z1, z2)
    there = first_step(z1 + 1e3, z2 + 1e3)
    for found, expected in zip(there, here, strict=True):
        assert_close(found, expected, tolerance=2e-3)


def test_small_redundancy_beside_large_variances():
    """What is off the diagonal is no difference of large sums."""
    rng = np.random.default_rng(0)
    orthogonal, _ = np.linalg.qr(rng.normal(size=(64, 3)))
    z = orthogonal - np.mean(orthogonal, axis=0)
    z, _ = np.linalg.qr(z)
    z[:, 1] += 1e-3 * z[:, 0]
    z = (1e3 * z).astype("float32")
    objective = VICReg(invariance_weight=0.0, variance_weight=0.0)
    _, expected = regularisers(z.astype("float64"))
    np.testing.assert_allclose(objective(z, z), 2.0 * expected, rtol=1e-2)


def test_one_dimension_has_no_redundancy():
    z1, z2 = embeddings(8, 1)
    objective = VICRegExp(invariance_weight=0.0, variance_weight=0.0)
    for value in first_steps(objective, 1)(z1, z2):
        np.testing.assert_array_equal(value, 0.0)


@pytest.mark.parametrize("cls", FAMILY)
def test_batch_of_one_pair(cls):
    z1, z2 = embeddings(1, 3)
    with pytest.raises(ValueError, match=r"at least 2 pairs; received 1\."):
        cls()(z1, z2)


@needs_tensorflow("a batch of one pair is refused where its size is known")
@pytest.mark.parametrize(
    "cls, jit", [(VICReg, False), (VICRegExp, True), (VICRegCtr, False)]
)
def test_unknown_batch(cls, jit):
    """Many pairs as if known; one, left over in `fit`, poisons no weights."""
    objective = cls()
    objective.build((None, 3))
    step = differentiated(
        lambda z1, z2: objective(z1, z2, training=True),
        objective,
        jit,
        shape=(None, 3),
    )
    pair = embeddings(8, 3)
    expected = loss_and_gradients(cls(), *pair)
    for found, value in zip(step(*pair), expected, strict=True):
        assert_close(found, value)

    z1, z2 = embeddings(1, 3)
    loss, g1, g2 = step(z1, z2)
    # Without a deviation from the mean only the error has a gradient.
    slope = 2.0 * 25.0 * (z1 - z2) / z1.size
    assert np.isfinite(loss)
    assert_close(g1, slope)
    assert_close(g2, -slope)


@pytest.mark.parametrize("cls", FAMILY)
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1", True])
def test_weights_out_of_range(cls, value):
    for name in ("invariance_weight", "variance_weight", "covariance_weight"):
        message = f"{cls.__name__}: {name} must be .*>= 0; .*{value!r}"
        with pytest.raises(ValueError, match=message):
            cls(**{name: value})


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), None])
@pytest.mark.parametrize("cls", [VICRegExp, VICRegCtr])
def test_temperature_out_of_range(cls, value):
    message = f"{cls.__name__}: temperature must be .*> 0; .*{value!r}"
    with pytest.raises(ValueError, match=message):
        cls(temperature=value)
