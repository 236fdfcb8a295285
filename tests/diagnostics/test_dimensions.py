"""Spectrum and spread of the dimensions, against NumPy."""

import numpy as np
import pytest

from minc_tf.diagnostics import AugmentationGraph, dimension_std, spectrum


@pytest.fixture(scope="module")
def embeddings():
    """Of different scales, with one dimension that does not vary."""
    z = np.random.default_rng(0).normal(size=(50, 6)) * np.arange(6)
    return z.astype("float32")


def test_spectrum(embeddings):
    values = np.linalg.eigvalsh(embeddings.T @ embeddings / 50)[::-1]
    found = np.asarray(spectrum(embeddings))
    np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-5)
    # Fewer samples than dimensions: the rest is zero, and never below.
    few = np.asarray(spectrum(embeddings[:2]))
    np.testing.assert_allclose(few[2:], 0.0, atol=1e-5)
    assert np.all(few >= 0.0)


def test_spectrum_of_the_optimum_is_that_of_the_graph():
    graph = AugmentationGraph.random(seed=1)
    table = graph.eigenfunctions[:, :6] * graph.eigenvalues[:6] ** 0.5
    i, j = graph.sample(100_000, seed=0)
    found = spectrum(np.concatenate([table[i], table[j]]))
    np.testing.assert_allclose(found, graph.eigenvalues[:6], atol=0.01)


def test_dimension_std(embeddings):
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = np.sqrt(6) * units.std(axis=0)
    found = np.asarray(dimension_std(embeddings))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert found[0] == 0.0
    # The scale of an embedding does not count; zeros stay zeros.
    scaled = embeddings * np.linspace(1e-20, 1e20, 50)[:, None]
    np.testing.assert_allclose(dimension_std(scaled), found, rtol=1e-4)
    np.testing.assert_array_equal(dimension_std(np.zeros((4, 3))), 0.0)


@pytest.mark.parametrize("function", [spectrum, dimension_std])
def test_bad_input(function):
    with pytest.raises(ValueError, match=r"shape \(N, d\); received \(4,\)"):
        function(np.zeros(4))
