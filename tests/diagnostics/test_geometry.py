"""RankMe, alignment and uniformity against slow formulas."""

import itertools

import numpy as np
import pytest

from minc_tf.diagnostics import alignment, rank_me, uniformity


def draw(n=20, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def test_rank_me():
    z = draw()
    sigma = np.linalg.svd(z, compute_uv=False)
    share = sigma / sigma.sum()
    expected = np.exp(-np.sum(share * np.log(share)))
    assert float(rank_me(z)) == pytest.approx(expected, rel=1e-5)
    assert float(rank_me(1e20 * z)) == pytest.approx(expected, rel=1e-5)
    # Equal singular values; one; none.
    assert float(rank_me(np.eye(8, 4))) == pytest.approx(4.0, rel=1e-5)
    assert float(rank_me(np.ones((8, 4)))) == pytest.approx(1.0, rel=1e-4)
    assert float(rank_me(np.zeros((8, 4)))) == 0.0


def test_alignment():
    z1, z2 = draw(), 3.0 * draw(seed=1)
    squares = np.sum((unit(z1) - unit(z2)) ** 2, axis=1)
    assert float(alignment(z1, z2)) == pytest.approx(squares.mean(), rel=1e-5)
    assert float(alignment(z1, 2 * z1)) == pytest.approx(0.0, abs=1e-6)
    assert float(alignment(z1, -z1)) == pytest.approx(4.0, rel=1e-5)


@pytest.mark.parametrize("temperature", [2.0, 0.5, 60.0])
def test_uniformity(temperature):
    z = draw()
    pairs = itertools.permutations(unit(z), 2)
    squares = np.array([np.sum((u - v) ** 2) for u, v in pairs])
    expected = np.log(np.mean(np.exp(-temperature * squares)))
    found = float(uniformity(z, temperature))
    assert found == pytest.approx(expected, rel=1e-4)
    same = np.ones((6, 3))
    assert float(uniformity(same, temperature)) == pytest.approx(0.0, abs=1e-4)


def test_bad_input():
    with pytest.raises(ValueError, match=r"embeddings must .*\(N, d\)"):
        rank_me(np.ones(3))
    with pytest.raises(ValueError, match="the same shape"):
        alignment(np.ones((3, 2)), np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"z2 must have shape \(N, d\)"):
        alignment(np.ones((3, 2)), np.ones(3))
    with pytest.raises(ValueError, match="at least 2 embeddings"):
        uniformity(np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"must be positive; received 0"):
        uniformity(np.ones((3, 2)), 0)


@pytest.mark.parametrize("measure", [rank_me, uniformity])
def test_nothing_and_nan(measure):
    with pytest.raises(ValueError, match=r"embeddings.*\(0, 3\)"):
        measure(np.zeros((0, 3)))
    assert np.isnan(measure(np.full((4, 3), np.nan)))


def test_all_zero_embeddings_have_no_spread():
    assert float(uniformity(np.zeros((5, 6)))) == 0.0
