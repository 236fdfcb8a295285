"""MINC against its formulas, written out in NumPy."""

import keras
import numpy as np
import pytest
from gradients import differentiated
from keras import ops

from minc_tf.objectives import MINC
from minc_tf.objectives.minc_formulas import surrogate
from objectives.harness import (
    assert_close,
    embeddings,
    loss_and_gradients,
    run_objective_test,
    run_setting_test,
    state,
)
from objectives.slow_minc import PAPER, SlowMINC, previous_of


def test_passes_the_checks_of_every_objective():
    run_objective_test(MINC, {"dim": 6})
    kwargs = {"dim": 6, **PAPER, "rate": 0.1, "floor": 0.05, "mu": 2.0}
    kwargs |= {"triangular": False, "order": "read_first"}
    run_setting_test(MINC, kwargs)


def test_an_objective_saved_before_it_could_lead_stays_what_it_was():
    config = MINC(3, rate=0.2, mu=None).get_config()
    del config["tracking"], config["self_pairs"]
    old = MINC.from_config(config)
    assert (old.tracking, old.self_pairs) == ("mean", True)
    now = MINC.from_config(MINC(3, mu=None).get_config())
    assert (now.tracking, now.self_pairs) == ("auto", False)


def test_the_surrogate_holds_what_repels():
    """Also where what repels is made of the embeddings themselves."""
    z1, z2 = embeddings(5, 3)
    matrix = np.random.default_rng(0).normal(size=(3, 3)).astype("float32")

    def loss(z1, z2):
        pushes = (ops.matmul(z, matrix.T) for z in (z1, z2))
        return surrogate(z1, z2, *pushes)

    _, *found = map(ops.convert_to_numpy, differentiated(loss)(z1, z2))
    for z, other, gradient in zip((z1, z2), (z2, z1), found, strict=True):
        assert_close(gradient, 2.0 / 5 * (z @ matrix.T - other))


def test_evaluation_before_training_uses_the_moment_of_its_batch():
    """There is nothing else to compare with; nothing is kept."""
    objective, pair = MINC(3, mu=None), embeddings(5, 3)
    loss = objective(*pair, training=False)
    slow = SlowMINC(1.0, tracking="mean", self_pairs=True)
    np.testing.assert_allclose(loss, slow.step(*pair)[0], rtol=1e-5)
    assert not np.any(state(objective)["second_moment"])


@pytest.mark.parametrize("triangular", [True, False])
def test_sample_weights_count_like_repeated_rows(triangular):
    counts = np.array([1, 3, 0, 2])
    rows = np.repeat(np.arange(4), counts)
    kwargs = {
        "dim": 3,
        "rate": 0.4,
        "triangular": triangular,
        "mu": None,
        **PAPER,
    }
    weighted, repeated = MINC(**kwargs), MINC(**kwargs)
    for seed in range(2):
        z1, z2 = embeddings(4, 3, seed)
        # Only the ratios of the weights matter.
        weights = 0.7 * counts.astype("float32")
        loss, *found = loss_and_gradients(
            weighted, z1, z2, sample_weight=weights
        )
        expected, *per_row = loss_and_gradients(repeated, z1[rows], z2[rows])
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        for gradient, each in zip(found, per_row, strict=True):
            summed = np.zeros_like(gradient)
            np.add.at(summed, rows, each)
            assert_close(gradient, summed)
        assert_close(
            weighted.second_moment.numpy(), repeated.second_moment.numpy()
        )


@pytest.mark.parametrize("shape", [(1,), (), (8,), (4, 3)])
def test_sample_weight_of_another_shape(shape):
    z1, z2 = embeddings(4, 3)
    with pytest.raises(ValueError, match=r"sample_weight .*\(4,\)"):
        MINC(3, mu=None)(z1, z2, sample_weight=np.ones(shape, "float32"))


def test_mu_clips_before_everything_else():
    mu = 1.5
    z1, z2 = embeddings(16, 5)

    def clip(z):
        norm = np.linalg.norm(z, axis=1, keepdims=True)
        return np.where(norm < np.sqrt(mu), z, np.sqrt(mu) * z / norm)

    def through_the_clip(z, g):
        norm = np.linalg.norm(z, axis=1, keepdims=True)
        along = np.sum(z * g, axis=1, keepdims=True) * z / norm**2
        return np.where(norm < np.sqrt(mu), g, np.sqrt(mu) / norm * (g - along))

    assert 0 < np.sum(np.linalg.norm(z1, axis=1) < np.sqrt(mu)) < 16
    objective, slow = MINC(5, mu=mu), SlowMINC()
    loss, g1, g2 = loss_and_gradients(objective, z1, z2)
    expected, h1, h2 = slow.step(clip(z1), clip(z2))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert_close(g1, through_the_clip(z1, h1))
    assert_close(g2, through_the_clip(z2, h2))
    assert_close(objective.second_moment.numpy(), slow.second_moment)


@pytest.mark.parametrize("tracking", ["mean", "lead", "corrected"])
@pytest.mark.parametrize("rate", [0.5, "adaptive"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_batch_that_is_not_finite_shows_and_is_not_kept(bad, rate, tracking):
    objective = MINC(3, rate=rate, tracking=tracking, mu=None)
    spared = MINC(3, rate=rate, tracking=tracking, mu=None)
    z1, z2 = embeddings(4, 3, 9)
    z1[2, 1] = bad
    # First of all batches, between two batches, then again.
    for seed in range(3):
        kept = previous_of(tracking, (z1, z2), seed)
        loss = objective(z1, z2, training=True, **kept)
        assert not np.isfinite(loss)
        np.testing.assert_array_equal(objective.metrics()["rate"], 0.0)
        pair = embeddings(4, 3, seed)
        kept = previous_of(tracking, pair, seed)
        loss = objective(*pair, training=True, **kept)
        np.testing.assert_array_equal(
            loss, spared(*pair, training=True, **kept)
        )
        np.testing.assert_array_equal(
            objective.second_moment.numpy(), spared.second_moment.numpy()
        )


@pytest.mark.parametrize("mu", [None, 10.0])
@pytest.mark.parametrize("scale", [1e-12, 1e4, 1e12])
def test_extreme_sizes_leave_the_second_moment_finite(scale, mu):
    """At 1e12 the adaptive rate overflows although the moment does not."""
    objective = MINC(8, mu=mu)
    for seed in range(3):
        pair = embeddings(16, 8, seed, scale=scale)
        loss, g1, g2 = loss_and_gradients(objective, *pair)
        assert np.all(np.isfinite(objective.second_moment.numpy()))
        if scale <= 1e4 or mu is not None:
            assert np.isfinite(loss)
            assert np.all(np.isfinite(g1)) and np.all(np.isfinite(g2))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_second_moment_is_float32_inside_a_mixed_precision_model(policy):
    keras.config.set_dtype_policy(policy)
    try:
        inputs = [keras.Input((4,)), keras.Input((4,))]
        tower = keras.layers.Dense(3, use_bias=False)
        objective = MINC(3, rate=1.0, mu=None)
        model = keras.Model(inputs, objective.attach(*map(tower, inputs)))
    finally:
        keras.config.set_dtype_policy("float32")
    z1, z2 = model(embeddings(64, 4), training=True)
    assert z1.dtype == policy.removeprefix("mixed_")
    assert objective.second_moment.dtype == "float32"
    z1, z2 = (np.array(ops.cast(z, "float64")) for z in (z1, z2))
    # Rounding to 8 or 11 bits anywhere after the tower would be seen here.
    assert_close(
        objective.second_moment.numpy(), (z1.T @ z1 + z2.T @ z2) / 128, 1e-6
    )


def covariance(eigenvalues, seed=0):
    rng = np.random.default_rng(seed)
    dim = len(eigenvalues)
    axes = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    return (axes * eigenvalues @ axes.T).astype("float32")


def test_rotation_orders_the_coordinates_as_eigh_does():
    eigenvalues = np.array([0.3, 1.0, 0.05, 0.6, 0.8])
    moment = covariance(eigenvalues)
    objective = MINC(5, triangular=False, mu=None)
    objective.build((None, 5))
    objective.second_moment.assign(moment)
    rotation = np.array(objective.rotation())

    np.testing.assert_allclose(rotation.T @ rotation, np.eye(5), atol=1e-6)
    descending = np.sort(eigenvalues)[::-1]
    np.testing.assert_allclose(
        rotation.T @ moment @ rotation, np.diag(descending), atol=1e-6
    )
    np.testing.assert_allclose(objective.eigenvalues(), descending, atol=1e-6)
    reference = np.linalg.eigh(moment.astype("float64"))[1][:, ::-1]
    peak = np.argmax(np.abs(reference), axis=0)
    reference = reference * np.sign(reference[peak, np.arange(5)])
    np.testing.assert_allclose(rotation, reference, atol=1e-5)


def test_eigenvalues_are_the_diagonal_in_the_triangular_form():
    moment = covariance(np.array([0.9, 0.5, 0.1]))
    objective = MINC(3, mu=None)
    objective.build((None, 3))
    objective.second_moment.assign(moment)
    np.testing.assert_array_equal(objective.eigenvalues(), np.diag(moment))


def test_metrics():
    objective = MINC(4, tracking="mean", rate=0.3, mu=None)
    slow = SlowMINC(0.3, tracking="mean")
    for seed in range(2):
        loss = objective(*embeddings(8, 4, seed), training=True)
        slow.step(*embeddings(8, 4, seed))
    spectrum = np.linalg.eigvalsh(slow.second_moment)
    expected = {
        "chi2_information": -float(loss) - 1.0,
        "effective_rank": spectrum.sum() ** 2 / np.sum(spectrum**2),
        "rate": 0.3,
        "second_moment_trace": spectrum.sum(),
    }
    metrics = objective.metrics()
    assert set(metrics) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5)
    other = objective.metrics(ops.convert_to_tensor(-3.0))
    np.testing.assert_allclose(other["chi2_information"], 2.0)
    assert objective.metrics == [], "Keras reads a layer's metrics as a list"


@pytest.mark.parametrize("call", ["metrics", "eigenvalues", "rotation"])
def test_nothing_to_report_before_the_first_batch(call):
    with pytest.raises(ValueError, match="call the objective on a pair"):
        getattr(MINC(3, mu=None), call)()


@pytest.mark.parametrize(
    "argument, value",
    [
        ("dim", 0),
        ("dim", 2.5),
        ("dim", True),
        ("dim", None),
        ("rate", 0.0),
        ("rate", 1.5),
        ("rate", "fast"),
        ("rate", None),
        ("rate", True),
        ("rate", float("nan")),
        ("floor", -0.1),
        ("floor", 1.1),
        ("floor", None),
        ("triangular", 1),
        ("self_pairs", None),
        ("tracking", "median"),
        ("order", "last"),
        ("mu", 0.0),
        ("mu", -2.0),
        ("mu", "10"),
        ("mu", float("inf")),
    ],
)
def test_arguments_out_of_range(argument, value):
    kwargs = {"dim": 4, argument: value}
    with pytest.raises(ValueError, match=f"{argument} must .*{value!r}"):
        MINC(**kwargs)


def test_embeddings_of_another_dimension():
    z1, z2 = embeddings(4, 5)
    with pytest.raises(ValueError, match=r"dim=3, .* 5 dimensions.*dim=5"):
        MINC(3, mu=None)(z1, z2)
    objective = MINC(3, mu=None)
    objective.build((None, 3))
    with pytest.raises(ValueError, match=r"dim=3, .* 5 dimensions.*dim=5"):
        objective(z1, z2)
    with pytest.raises(ValueError, match=r"dim=3, .* 5 dimensions.*dim=5"):
        MINC(3, mu=None).attach(keras.Input((5,)), keras.Input((5,)))
