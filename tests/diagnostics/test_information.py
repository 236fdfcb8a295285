"""The information captured, against graphs on which it is known."""

import itertools

import numpy as np
import pytest

from minc_tf.diagnostics import (
    AugmentationGraph,
    captured_share,
    chi2_information,
)

DIM = 6


@pytest.fixture(scope="module")
def graph():
    return AugmentationGraph.random(seed=1)


def tables(graph):
    """The optimum, and an embedding that is far from it."""
    optimum = graph.eigenfunctions[:, :DIM] * graph.eigenvalues[:DIM] ** 0.5
    noise = np.random.default_rng(0).normal(size=optimum.shape)
    return [optimum, 0.7 * optimum + 0.2 * noise]


def test_equals_the_sum_over_all_pairs_of_images():
    rng = np.random.default_rng(0)
    z1, z2 = rng.normal(size=(2, 7, 3))
    terms = [
        (one[i] @ other[j]) ** 2
        for i, j in itertools.permutations(range(7), 2)
        for one, other in itertools.product((z1, z2), repeat=2)
    ]
    expected = 2 * np.mean(np.sum(z1 * z2, axis=1)) - np.mean(terms) - 1
    found = chi2_information(z1, z2)
    assert found["value"] == pytest.approx(expected, rel=1e-12)
    assert found["low"] < found["value"] < found["high"]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("form", ["u_statistic", "minc"])
def test_the_interval_covers_the_exact_value(graph, which, form):
    """95 % of the time; 90 of 100 is what is asked for."""
    table = tables(graph)[which]
    exact = graph.objective(table) - 1
    moment = None
    if form == "minc":
        moment = table.T @ (graph.marginal[:, None] * table)
    values, covered = [], 0
    for seed in range(100):
        i, j = graph.sample(500, seed)
        found = chi2_information(table[i], table[j], second_moment=moment)
        values.append(found["value"])
        covered += found["low"] <= exact <= found["high"]
    assert covered >= 90
    # No bias, and the error is as large as it says.
    spread = np.std(values, ddof=1)
    assert abs(np.mean(values) - exact) < 3 * spread / 10
    assert found["standard_error"] == pytest.approx(spread, rel=0.35)


def test_optimum_holds_what_the_eigenvalues_say(graph):
    table = tables(graph)[0]
    i, j = graph.sample(200_000, seed=0)
    found = chi2_information(table[i], table[j], confidence=0.99)
    exact = np.sum(graph.eigenvalues[:DIM] ** 2) - 1
    assert found["low"] <= exact <= found["high"]
    assert found["value"] == pytest.approx(exact, rel=0.02)


def test_captured_share():
    found = captured_share([0.8, 0.6, -0.01])
    np.testing.assert_allclose(found, [0.64, 1.0, 1.0])


@pytest.mark.parametrize(
    ("z1", "z2", "arguments", "message"),
    [
        (np.ones((4, 2)), np.ones((4, 3)), {}, "the same shape"),
        (np.ones(4), np.ones(4), {}, "the same shape"),
        (np.ones((2, 2)), np.ones((2, 2)), {}, "3 pairs .* received 2"),
        (np.ones((4, 2)), np.full((4, 2), np.nan), {}, "z2 must be finite"),
        (
            np.ones((4, 2)),
            np.ones((4, 2)),
            {"second_moment": np.eye(3)},
            r"must have shape \(2, 2\); received \(3, 3\)",
        ),
        (
            np.ones((4, 2)),
            np.ones((4, 2)),
            {"confidence": 95},
            "between 0 and 1; received 95",
        ),
    ],
)
def test_bad_input(z1, z2, arguments, message):
    with pytest.raises(ValueError, match=message):
        chi2_information(z1, z2, **arguments)
    with pytest.raises(ValueError, match="one or more above zero"):
        captured_share([-0.1, 0.0])
