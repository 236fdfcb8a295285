"""Gradient variance against enumeration over a graph with a table encoder."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import minc_tf
from minc_tf.diagnostics import (
    AugmentationGraph,
    compare_gradient_variance,
    gradient_statistics,
    gradient_variance,
)
from minc_tf.objectives import MINC, NegativeCosine, SpectralContrastive

STATES, DIM, BATCHES = 8, 3, 1500


@pytest.fixture(scope="module")
def graph():
    return AugmentationGraph.random(STATES, 24, 3, seed=1)


@pytest.fixture(scope="module")
def table(graph):
    """Embeddings between the optimum and noise."""
    optimum = graph.eigenfunctions[:, :DIM] * graph.eigenvalues[:DIM] ** 0.5
    noise = np.random.default_rng(0).normal(size=optimum.shape)
    return (0.7 * optimum + 0.3 * noise).astype("float32")


def table_model(table, dropout=0.0, norm=False, **kwargs):
    """A model whose images are states, one-hot, and whose weights a table."""
    inputs = keras.Input((STATES, 1, 1))
    x = keras.layers.Flatten()(inputs)
    if norm:
        x = keras.layers.BatchNormalization()(x)
    if dropout:
        x = keras.layers.Dropout(dropout, seed=3)(x)
    projector = keras.Sequential(
        [keras.Input((STATES,)), keras.layers.Dense(DIM, use_bias=False)]
    )
    projector.set_weights([table])
    kwargs.setdefault("objective", SpectralContrastive(mu=None))
    return minc_tf.TwoViewModel(keras.Model(inputs, x), projector, **kwargs)


def draw(graph, batch_size, count=BATCHES, seed=0):
    """Batches of pairs of views of independent images."""
    rng = np.random.default_rng(seed)
    eye = np.eye(STATES, dtype="float32").reshape(STATES, STATES, 1, 1)
    states = (graph.sample(batch_size, rng) for _ in range(count))
    return [(eye[i], eye[j]) for i, j in states]


def total_variance(vectors, weights):
    """Trace of the covariance of weighted vectors (N, ...)."""
    flat = vectors.reshape(len(vectors), -1)
    mean = weights @ flat
    return weights @ np.sum(flat**2, axis=1) - mean @ mean, mean


def all_pairs(graph):
    """Every pair of states, (P,) each, and its probability."""
    i, j = np.divmod(np.arange(STATES**2), STATES)
    return i, j, graph.joint.ravel()


def minc_terms(graph, table, repulsion):
    """The gradient of each pair of states, (P, STATES, DIM)."""
    i, j, _ = all_pairs(graph)
    terms = np.zeros((len(i), STATES, DIM))
    rows = np.arange(len(i))
    np.add.at(terms, (rows, i), 2 * (-table[j] + table[i] @ repulsion.T))
    np.add.at(terms, (rows, j), 2 * (-table[i] + table[j] @ repulsion.T))
    return terms


def spectral_variance(graph, table, batch):
    """Hoeffding's variance of the U-statistic's gradient; and its mean."""
    i, j, probability = all_pairs(graph)
    pairs, rows = len(i), np.arange(len(i))
    own = np.zeros((pairs, STATES, DIM))
    np.add.at(own, (rows, i), -table[j])
    np.add.at(own, (rows, j), -table[i])
    # Symmetric in the two pairs: half of both orders of the views.
    kernel = own[:, None] + own[None]
    products = table @ table.T
    for one, other in ((i, j), (j, i)):
        # (z_one . z'_other)^2 / 2, one of the first pair, other of the second
        product = products[one[:, None], other[None]]
        first, second = np.broadcast_arrays(one[:, None], other[None])
        at = np.indices((pairs, pairs))
        np.add.at(kernel, (*at, first), product[..., None] * table[second])
        np.add.at(kernel, (*at, second), product[..., None] * table[first])
    kernel = kernel.reshape(pairs, pairs, -1)
    both = np.outer(probability, probability).ravel()
    zeta1, _ = total_variance(
        np.einsum("q,pqe->pe", probability, kernel), probability
    )
    zeta2, mean = total_variance(kernel.reshape(pairs**2, -1), both)
    numerator = 4 * (batch - 2) * zeta1 + 2 * zeta2
    return numerator / (batch * (batch - 1)), mean


# On either side of 2 d the loss takes another way through its formula.
@pytest.mark.parametrize("batch", [4, 12])
def test_equals_the_analytic_variance(graph, table, batch):
    moment = table.T @ (graph.marginal[:, None] * table)
    *_, probability = all_pairs(graph)
    expected, means = {}, {}
    for name, repulsion in (("full", moment), ("lower", np.tril(moment))):
        terms = minc_terms(graph, table, repulsion)
        variance, means[name] = total_variance(terms, probability)
        expected[name] = variance / batch
    expected["spectral"], means["spectral"] = spectral_variance(
        graph, table, batch
    )
    # The same gradient is estimated.
    np.testing.assert_allclose(means["full"], means["spectral"], atol=1e-6)

    found = compare_gradient_variance(
        table_model(table),
        draw(graph, batch),
        {
            "full": MINC(DIM, triangular=False, mu=None),
            "lower": MINC(DIM, mu=None),
            "spectral": SpectralContrastive(mu=None),
        },
    )
    for name, each in found.items():
        assert each["variance"] == pytest.approx(expected[name], rel=0.05)
        assert each["standard_error"] < 0.02 * expected[name]
        squared = float(means[name] @ means[name])
        assert each["squared_norm"] == pytest.approx(squared, rel=0.1)
        ratio = each["variance"] / each["squared_norm"]
        assert each["noise_to_signal"] == ratio
        assert each["batches"] == BATCHES


def by_hand(model, batches, loss):
    """Trace of the covariance of the gradients of `loss(z1, z2)`."""
    variables = model.projector.trainable_variables
    found = []
    for view1, view2 in batches:
        with tf.GradientTape() as tape:
            value = loss(model(view1), model(view2))
        found.append(np.ravel(tape.gradient(value, variables)[0]))
    found = np.array(found, "float64")
    mean = found.mean(axis=0)
    variance = found.var(axis=0, ddof=1).sum()
    return variance, mean @ mean - variance / len(found)


@pytest.mark.parametrize("triangular", [True, False])
def test_own_second_moment_is_that_of_training(graph, table, triangular):
    objective = MINC(DIM, triangular=triangular, mu=1.0, rate=0.5)
    model = table_model(table, objective=objective)
    batches = draw(graph, 6, 5)
    objective(table, table, training=True)
    held = objective.second_moment.numpy()
    found = gradient_variance(model, batches, second_moment="own")
    expected = by_hand(model, batches, objective)
    measured = found["variance"], found["squared_norm"]
    np.testing.assert_allclose(measured, expected, rtol=1e-4)
    np.testing.assert_array_equal(objective.second_moment, held)
    # The moment of all batches is another.
    other = gradient_variance(model, batches)
    assert abs(other["squared_norm"] / found["squared_norm"] - 1) > 0.01


def test_a_data_set_and_another_objective(graph, table):
    batches = draw(graph, 6, 5)
    data = tf.data.Dataset.from_generator(
        lambda: iter(batches),
        output_signature=(tf.TensorSpec((6, STATES, 1, 1)),) * 2,
    )
    model = table_model(table)
    found = gradient_variance(model, data, objective=NegativeCosine())
    expected = by_hand(model, batches, NegativeCosine())
    measured = found["variance"], found["squared_norm"]
    np.testing.assert_allclose(measured, expected, rtol=1e-4)


def test_the_model_stays_as_it_is(graph, table):
    """Weights, moving statistics, random states, Lambda, target, steps."""
    predictor = keras.Sequential([keras.Input((DIM,)), keras.layers.Dense(DIM)])
    model = table_model(
        table,
        dropout=0.3,
        norm=True,
        objective=MINC(DIM, mu=None),
        predictor=predictor,
        target_momentum=0.9,
    )
    model.objective(table, table, training=True)
    before = [variable.numpy() for variable in model.variables]
    batches = draw(graph, 6, 4)
    objectives = {"minc": model.objective, "cosine": NegativeCosine()}
    first, second = (
        compare_gradient_variance(model, batches, objectives) for _ in range(2)
    )
    assert first == second
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_dropout_is_noise_only_in_training(graph, table):
    """The same batch again and again: masks are drawn anew each time."""
    batches = draw(graph, 6, 1) * 4
    model = table_model(table, dropout=0.3)
    for training, noisy in ((True, True), (False, False)):
        found = gradient_variance(model, batches, training=training)
        assert (found["variance"] > 1e-3) == noisy
        assert (found["variance"] < 1e-12) != noisy


def test_small_views_count(graph, table):
    """With multi-crop: the mean over pairs of views, each with its own."""
    rng = np.random.default_rng(0)
    eye = np.eye(STATES, dtype="float32").reshape(STATES, STATES, 1, 1)
    batches = [
        tuple(eye[rng.integers(0, STATES, 6)] for _ in range(3))
        for _ in range(4)
    ]
    model = table_model(table)
    found = gradient_variance(model, batches, objective=NegativeCosine())
    pairs = [
        (np.concatenate([a, a, b]), np.concatenate([b, c, c]))
        for a, b, c in batches
    ]
    variance, _ = by_hand(model, pairs, NegativeCosine())
    assert found["variance"] == pytest.approx(variance, rel=1e-4)


def test_statistics_of_any_gradient():
    """Of means of 16 normal vectors of variances 4 and 9."""
    rng = np.random.default_rng(0)
    scale, mean = np.array([2.0, 3.0]), np.array([1.0, -1.0])
    expected = np.sum(scale**2) / 16
    estimates = []
    for _ in range(200):
        batches = mean + scale * rng.normal(size=(30, 16, 2))
        found = gradient_statistics(
            lambda batch: [batch.mean(0)[:1], batch.mean(0)[1:]], batches
        )
        estimates.append(list(found.values())[:3])
        rows = batches.mean(axis=1)
        variance = rows.var(axis=0, ddof=1).sum()
        assert found["variance"] == pytest.approx(variance, rel=1e-9)
    variance, error, squared = np.mean(estimates, axis=0)
    assert variance == pytest.approx(expected, rel=0.03)
    assert squared == pytest.approx(mean @ mean, rel=0.03)
    # The error says how far the estimates lie apart.
    assert error == pytest.approx(np.std(estimates, axis=0)[0], rel=0.15)


def test_no_signal_is_infinite_noise():
    batches = [np.array([1.0]), np.array([-1.0]), np.array([0.0])]
    found = gradient_statistics(lambda batch: [batch], batches)
    assert found["squared_norm"] < 0
    assert found["noise_to_signal"] == np.inf


def test_bad_input(graph, table):
    model, batches = table_model(table), draw(graph, 4, 3)
    images = tf.data.Dataset.from_tensors(batches[0])
    for arguments, error, message in (
        ((model.encoder, batches), TypeError, "built .* received Functional"),
        ((model, iter(batches)), TypeError, "twice; received list_iterator"),
        ((model, images.repeat()), ValueError, "repeats forever"),
        ((model, []), ValueError, "3 batches are needed; received 0"),
        ((model, [batches[0][0]]), ValueError, "received ndarray"),
        ((model, batches[:2]), ValueError, "3 batches are needed; received 2"),
        ((model, [*batches, *draw(graph, 5, 1)]), ValueError, "received 4 and"),
    ):
        with pytest.raises(error, match=message):
            gradient_variance(*arguments)
    for settings, error, message in (
        ({"second_moment": "mine"}, ValueError, "received 'mine'"),
        ({"objective": "minc"}, TypeError, "received str"),
        (
            {"objective": MINC(4, mu=None)},
            ValueError,
            "dim=4, but the embeddings",
        ),
        (
            {"objective": MINC(DIM, mu=None), "second_moment": "own"},
            ValueError,
            "is zero. Pass 'batches'",
        ),
    ):
        with pytest.raises(error, match=message):
            gradient_variance(model, batches, **settings)
    with pytest.raises(ValueError, match="one or more; received none"):
        compare_gradient_variance(model, batches, {})
    model.projector.set_weights([np.full_like(table, np.nan)])
    with pytest.raises(ValueError, match="gradient of batch 0 must be finite"):
        gradient_variance(model, batches)
