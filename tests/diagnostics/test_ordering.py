"""Post-hoc ordering against graphs whose eigenfunctions are known."""

import numpy as np
import pytest

from minc_tf.diagnostics import AugmentationGraph, order

DIM = 6


@pytest.fixture(scope="module")
def graph():
    return AugmentationGraph.random(seed=1)


def rotated(graph, seed=0, extra=0):
    """The spectral optimum, mixed by a random matrix and shifted."""
    rng = np.random.default_rng(seed)
    values = np.sqrt(graph.eigenvalues[1 : DIM + 1])
    optimum = graph.eigenfunctions[:, 1 : DIM + 1] * values
    mixing = rng.normal(size=(DIM, DIM + extra))
    return optimum @ mixing + rng.normal(size=DIM + extra)


def overlaps(graph, functions):
    """|correlation| of column i with eigenfunction i + 1."""
    weights = graph.marginal[:, None]
    centred = functions - (weights * functions).sum(0)
    expected = graph.eigenfunctions[:, 1 : functions.shape[1] + 1]
    inner = (weights * centred * expected).sum(0)
    return np.abs(inner) / np.sqrt((weights * centred**2).sum(0))


def test_exact_pairs_give_back_the_eigenfunctions(graph):
    table = rotated(graph)
    first, second, probability = graph.pairs()
    ordering = order(lambda s: table[s], [(first, second, probability)])
    np.testing.assert_allclose(
        ordering.eigenvalues, graph.eigenvalues[1 : DIM + 1], rtol=1e-6
    )
    found = ordering(table)
    assert overlaps(graph, found).min() > 1 - 1e-6
    # Scaled as the embedding that MINC learns.
    variances = graph.marginal @ found.astype("float64") ** 2
    np.testing.assert_allclose(variances, ordering.eigenvalues, rtol=1e-5)


def test_sampled_pairs(graph):
    """As with real views; directions that say nothing are left out."""
    table = rotated(graph, extra=2)
    first, second = graph.sample(300_000, seed=3)
    batches = zip(
        np.array_split(first, 7), np.array_split(second, 7), strict=True
    )
    ordering = order(lambda s: table[s], batches)
    assert len(ordering.eigenvalues) == DIM
    np.testing.assert_allclose(
        ordering.eigenvalues, graph.eigenvalues[1 : DIM + 1], rtol=0.03
    )
    assert overlaps(graph, ordering(table)).min() > 0.99
    first_two = order(lambda s: table[s], [(first, second)], dim=2)
    np.testing.assert_allclose(
        first_two.eigenvalues, ordering.eigenvalues[:2], rtol=1e-6
    )
    np.testing.assert_allclose(
        np.abs(first_two(table)), np.abs(ordering(table, dim=2)), atol=1e-5
    )


def test_neither_view_comes_first(graph):
    """Of few pairs the covariance is symmetric because it is made so."""
    table, (one, other) = rotated(graph), graph.sample(200, seed=5)
    found, expected = (
        order(lambda s: table[s], [pair]).eigenvalues
        for pair in ((one, other), (other, one))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_noise_comes_last(graph):
    """Coordinates that differ between the views have eigenvalues near 0."""
    rng = np.random.default_rng(0)
    table = rotated(graph)
    first, second = graph.sample(50_000, seed=4)
    noisy = [
        np.hstack([table[s], rng.normal(size=(len(s), 3))])
        for s in (first, second)
    ]
    ordering = order(lambda f: f, [tuple(noisy)])
    np.testing.assert_allclose(
        ordering.eigenvalues[:DIM], graph.eigenvalues[1 : DIM + 1], rtol=0.03
    )
    assert np.abs(ordering.eigenvalues[DIM:]).max() < 0.03
    assert np.all(np.isfinite(ordering(noisy[0])))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "received none"),
        ([(np.ones((4, 2)), np.ones((4, 2)))], "has collapsed"),
        ([(np.eye(3), np.eye(4)[:, :3])], "of one length; received 3, 4"),
        ([(np.ones(4), np.ones(4))], r"shape \(B, F\); received \(4,\)"),
        ([(np.eye(3) * np.nan, np.eye(3))], "must be finite"),
        ([(np.eye(3),)], r"\(view1, view2\) or .* received tuple of 1"),
        ([(np.eye(3), np.eye(3), np.ones(2))], r"received 3, 3 and \(2,\)"),
    ],
)
def test_pairs_that_cannot_be_ordered(pairs, message):
    with pytest.raises(ValueError, match=message):
        order(lambda x: x, pairs)


def test_dimensions_that_there_are_not():
    x = np.random.default_rng(0).normal(size=(50, 4))
    with pytest.raises(ValueError, match=r"between 1 and 4, .* received 5"):
        order(lambda x: x, [(x, x)], dim=5)
    ordering = order(lambda x: x, [(x, x)])
    with pytest.raises(ValueError, match=r"between 1 and 4, .* received 0"):
        ordering(x, dim=0)
    with pytest.raises(ValueError, match=r"shape \(N, 4\); received \(50, 3\)"):
        ordering(x[:, :3])
