"""f-MICL against loops over a batch, and against its relatives."""

import keras
import numpy as np
import pytest
from gradients import (
    COMPILED,
    differentiated,
    float64,
    needs_tensorflow,
)
from keras import ops

from minc_tf.objectives import SpectralContrastive
from minc_tf.objectives.fmicl import (
    DIVERGENCES,
    FMICL,
    default_alpha,
    fmicl_loss,
    tsallis,
)
from minc_tf.objectives.norms import unit_norm
from objectives.harness import (
    SIZES,
    assert_close,
    embeddings,
    loss_and_gradients,
    run_objective_test,
    run_reference_test,
    run_setting_test,
)

# f, f' and f*(f') of the paper's table, as functions of u.
TABLE = {
    "kl": (
        lambda u: u * np.log(u),
        lambda u: np.log(u) + 1.0,
        lambda u: u,
    ),
    "js": (
        lambda u: u * np.log(u) - (u + 1.0) * np.log((1.0 + u) / 2.0),
        lambda u: np.log(2.0 * u / (1.0 + u)),
        lambda u: np.log((1.0 + u) / 2.0),
    ),
    "pearson": (
        lambda u: (u - 1.0) ** 2,
        lambda u: 2.0 * (u - 1.0),
        lambda u: u**2 - 1.0,
    ),
    "hellinger": (
        lambda u: (np.sqrt(u) - 1.0) ** 2,
        lambda u: 1.0 - u**-0.5,
        lambda u: np.sqrt(u) - 1.0,
    ),
    "tsallis": (
        lambda u: u**3.0 / 2.0,
        lambda u: 3.0 * u**2.0 / 2.0,
        lambda u: u**3.0,
    ),
    "vlc": (
        lambda u: (u - 1.0) ** 2 / (u + 1.0),
        lambda u: 1.0 - 4.0 / (u + 1.0) ** 2,
        lambda u: 3.0 + 4.0 / (u + 1.0) ** 2 - 8.0 / (u + 1.0),
    ),
}
NAMES = list(TABLE)
GENERATORS = {**DIVERGENCES, "tsallis of order 3": tsallis(3.0)}
GRID = np.geomspace(1e-6, 10.0, 60)


def arguments(name):
    """Those of the divergence in `TABLE`: Tsallis of order 3."""
    return {"divergence": name, "order": 3.0 if name == "tsallis" else None}


def slow_loss(z1, z2, name, alpha, sigma):
    _, derivative, conjugate = TABLE[name]
    z1 = np.stack([row / np.sqrt(np.sum(row**2)) for row in z1])
    z2 = np.stack([row / np.sqrt(np.sum(row**2)) for row in z2])
    batch = len(z1)
    positive = negative = 0.0
    for i in range(batch):
        u = np.exp(-np.sum((z1[i] - z2) ** 2, axis=1) / (2.0 * sigma**2))
        positive += derivative(u[i])
        for j in range(batch):
            if i != j:
                negative += conjugate(u[j])
    return -positive / batch + alpha * negative / (batch * (batch - 1))


def test_passes_the_checks_of_every_objective():
    kwargs = {**arguments("tsallis"), "alpha": 3.0, "sigma": 0.4}
    run_objective_test(FMICL, kwargs)


@pytest.mark.parametrize("name", NAMES)
def test_every_divergence_is_saved_and_stays_finite(name):
    run_setting_test(FMICL, {"divergence": name})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch, dim", SIZES)
def test_value_and_gradient_equal_the_loop(batch, dim, name):
    run_reference_test(
        FMICL(**arguments(name), alpha=3.0, sigma=0.7),
        lambda z1, z2: slow_loss(z1, z2, name, 3.0, 0.7),
        batch,
        dim,
    )


@pytest.mark.parametrize("name", NAMES)
def test_defaults_equal_the_loop(name):
    run_reference_test(
        FMICL(**arguments(name)),
        lambda z1, z2: slow_loss(z1, z2, name, np.exp(4.0), 0.5),
        batch=16,
        dim=7,
    )


@pytest.mark.parametrize("name", NAMES)
def test_functions_of_the_logarithm_equal_the_table(name):
    f = tsallis(3.0) if name == "tsallis" else DIVERGENCES[name]
    functions = f.f, f.derivative, f.conjugate
    for function, expected in zip(functions, TABLE[name], strict=True):
        with float64():
            found = function(ops.log(GRID))
        np.testing.assert_allclose(found, expected(GRID), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", GENERATORS)
def test_conjugate_at_the_derivative(name):
    """`f*(f'(u)) = u f'(u) - f(u)`."""
    f = GENERATORS[name]
    with float64():
        log_u = ops.log(GRID)
        expected = GRID * f.derivative(log_u) - f.f(log_u)
        found = f.conjugate(log_u)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", GENERATORS)
def test_derivative_is_that_of_f(name):
    f, u = GENERATORS[name], np.geomspace(1e-3, 10.0, 40)
    with float64():
        above, below = ops.log(1.0001 * u), ops.log(0.9999 * u)
        expected = (f.f(above) - f.f(below)) / (0.0002 * u)
        found = f.derivative(ops.log(u))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_pearson_of_products_is_the_spectral_loss():
    """Up to a constant: -2 (u - 1) and u^2 - 1 for -2 u and u^2."""
    pearson = DIVERGENCES["pearson"]
    # Products of positive embeddings have a logarithm.
    z1, z2 = (np.abs(z) + 0.1 for z in embeddings(12, 5))

    def loss_of_products(z1, z2):
        log_u = ops.log(ops.matmul(z1, ops.transpose(z2)))
        attraction = pearson.derivative(ops.diagonal(log_u))
        repulsion = pearson.conjugate(log_u) * (1.0 - ops.eye(12))
        return ops.sum(repulsion) / (12 * 11) - ops.mean(attraction)

    loss, *gradients = differentiated(loss_of_products)(z1, z2)
    spectral, *expected = loss_and_gradients(
        SpectralContrastive(mu=None), z1, z2
    )
    np.testing.assert_allclose(loss, spectral + 1.0, rtol=1e-5)
    for found, wanted in zip(gradients, expected, strict=True):
        assert_close(found, wanted)


def test_tsallis_of_order_two_has_the_gradient_of_pearson():
    z1, z2 = embeddings(12, 5)
    for given in ({}, {"order": 2.0}):
        loss, *found = loss_and_gradients(
            FMICL(divergence="tsallis", alpha=3.0, **given), z1, z2
        )
        pearson, *expected = loss_and_gradients(
            FMICL(divergence="pearson", alpha=3.0), z1, z2
        )
        # 2 u and u^2 for 2 (u - 1) and u^2 - 1.
        np.testing.assert_allclose(loss, pearson - 2.0 + 3.0, rtol=1e-5)
        for gradient, wanted in zip(found, expected, strict=True):
            assert_close(gradient, wanted)


def test_kl_with_the_mean_of_the_kernel_is_a_softmax():
    z1, z2 = (unit_norm(z) for z in embeddings(12, 5))

    def losses(z1):
        # Scaled again, so that no radial gradient is left.
        unit = unit_norm(z1)
        log_u = 4.0 * (ops.matmul(unit, ops.transpose(z2)) - 1.0)
        negatives = ops.exp(log_u) * (1.0 - ops.eye(12))
        mean = ops.sum(negatives) / (12 * 11)
        softmax = ops.log(mean) - ops.mean(ops.diagonal(log_u))
        alpha = ops.stop_gradient(1.0 / mean)
        return softmax, fmicl_loss(unit, z2, DIVERGENCES["kl"], alpha, 0.5)

    (_, expected), (_, found) = (
        differentiated(lambda z1, i=i: losses(z1)[i])(z1) for i in (0, 1)
    )
    assert_close(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_scale_of_an_embedding_does_not_matter(name):
    z1, z2 = embeddings(8, 5)
    scales = np.geomspace(1e-3, 1e3, 8, dtype="float32")[:, None]
    objective = FMICL(**arguments(name))
    np.testing.assert_allclose(
        objective(scales * z1, z2 / scales), objective(z1, z2), rtol=1e-5
    )


@pytest.mark.parametrize("sigma", [0.1204, 0.5, 30.0])
@pytest.mark.parametrize("name", NAMES)
def test_opposite_and_equal_embeddings(name, sigma):
    """The extremes of the kernel, at every width."""
    z1, _ = embeddings(8, 3)
    objective = FMICL(divergence=name, sigma=sigma)
    for z2 in (-z1, z1, z1[::-1]):
        loss, *gradients = loss_and_gradients(objective, z1, z2)
        assert np.isfinite(loss)
        assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    # Opposite embeddings attract each other in KL, however small the kernel.
    if name == "kl":
        z1, z2 = z1[:, :2], -z1[:, :2] + 0.1
        _, gradient, _ = loss_and_gradients(objective, z1, z2)
        assert np.all(np.sum(np.abs(gradient), axis=1) > 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_training_neither_collapses_nor_ignores_the_pairs(name):
    """64 free embeddings, started close together, with noise as views."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=16) / 4.0 + 0.05 * rng.normal(size=(64, 16))
    z = keras.Variable(start / np.linalg.norm(start, axis=1, keepdims=True))
    noise = 0.06 * rng.normal(size=(2, 64, 16)).astype("float32")
    objective = FMICL(divergence=name)
    optimizer = keras.optimizers.Adam(0.02)
    optimizer.build([z])

    def loss_of(z):
        unit = unit_norm(z)
        return objective(unit + noise[0], unit + noise[1])

    step = differentiated(loss_of, jit_compile=COMPILED[0])
    for _ in range(200):
        optimizer.apply([step(z.value)[1]])
    z1, z2 = (unit_norm(view) for view in unit_norm(z) + noise)
    # The mean of collapsed embeddings has norm one.
    assert np.linalg.norm(np.mean(z2, axis=0)) < 0.3
    distances = -2.0 * np.matmul(z1, np.transpose(z2)) + 2.0
    assert np.mean(np.diag(distances)) < 0.2
    assert np.array_equal(np.argmin(distances, axis=1), np.arange(64))


@needs_tensorflow("a batch of one pair is refused where its size is known")
def test_one_pair_of_unknown_number_has_no_negatives():
    """The batch that is left over in `fit` must not poison the weights."""
    objective = FMICL(alpha=3.0, sigma=0.7)
    objective.build((None, 3))

    step = differentiated(objective, objective, False, shape=(None, 3))
    for batch in (1, 5):
        z1, z2 = embeddings(batch, 3)
        loss, gradient, _ = step(z1, z2)
        if batch == 1:
            cos = np.sum(z1 * z2)
            cos = cos / np.linalg.norm(z1) / np.linalg.norm(z2)
            expected = (1.0 - cos) / 0.7**2 - 1.0
        else:
            expected = slow_loss(z1, z2, "kl", 3.0, 0.7)
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        assert np.all(np.isfinite(gradient))


def test_default_alpha_is_resolved_and_not_saved():
    for sigma in (0.3, 0.5):
        objective = FMICL(divergence="vlc", sigma=sigma)
        assert objective.resolved_alpha == default_alpha(sigma)
        # The inverse of the kernel of orthogonal embeddings.
        np.testing.assert_allclose(
            objective.resolved_alpha, 1.0 / np.exp(-2.0 / (2.0 * sigma**2))
        )
        assert objective.get_config()["alpha"] is None
    assert FMICL(alpha=7.0).resolved_alpha == 7.0


@pytest.mark.parametrize(
    "given, message",
    [
        ({"divergence": "tv"}, "divergence must be one of 'kl', .*'tv'"),
        ({"alpha": 0.0}, "alpha must be .*0.0"),
        ({"alpha": float("inf")}, "alpha must be .*inf"),
        ({"sigma": -1.0}, "sigma must be .*-1.0"),
        ({"sigma": "1"}, "sigma must be .*'1'"),
        ({"sigma": 0.12}, "sigma must be at least 0.1203.*received 0.12"),
        ({"order": 2.0}, "order .*divergence=\"tsallis\".*'kl'.*2.0"),
        ({"divergence": "tsallis", "order": 1.0}, "order must be .*1.0"),
        ({"divergence": "tsallis", "order": True}, "order must be .*True"),
    ],
)
def test_arguments_out_of_range(given, message):
    with pytest.raises(ValueError, match=message):
        FMICL(**given)


def test_one_pair_is_refused():
    z1, z2 = embeddings(1, 4)
    with pytest.raises(ValueError, match="at least 2 pairs; received 1"):
        FMICL()(z1, z2)
