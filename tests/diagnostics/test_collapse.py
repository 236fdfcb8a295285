"""Spread and rank of embeddings against float64 NumPy."""

import numpy as np
import pytest
from keras import ops

from minc_tf.diagnostics import effective_rank, embedding_std

SHAPES = [(2, 2), (5, 16), (16, 5), (64, 64), (300, 12), (12, 300)]


def directions(z):
    """Rows of norm one, float64."""
    z = np.asarray(z, "float64")
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def slow_std(z):
    """Root of the trace of the covariance of the directions."""
    return np.sqrt(np.trace(np.atleast_2d(np.cov(directions(z).T, bias=True))))


def slow_rank(z):
    """From the singular values of the centred directions."""
    u = directions(z)
    values = np.linalg.svd(u - u.mean(axis=0), compute_uv=False) ** 2
    return values.sum() ** 2 / np.sum(values**2)


def embeddings(shape, seed=0):
    """Rows with a common offset and very different scales."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=shape) * np.linspace(0.1, 2.0, shape[1])
    z = (z + 0.3) * np.geomspace(0.01, 100.0, shape[0])[:, None]
    return z.astype("float32")


@pytest.mark.parametrize("shape", SHAPES)
def test_both_equal_numpy(shape):
    z = embeddings(shape)
    for given in (z, ops.convert_to_tensor(z), z.astype("float64")):
        std, rank = embedding_std(given), effective_rank(given)
        for value in (std, rank):
            assert value.shape == ()
            assert value.dtype == "float32"
        np.testing.assert_allclose(std, slow_std(z), rtol=1e-5)
        np.testing.assert_allclose(rank, slow_rank(z), rtol=1e-4)


def test_half_precision_is_only_rounded():
    z = embeddings((40, 8)).astype("float16")
    np.testing.assert_allclose(embedding_std(z), slow_std(z), rtol=1e-5)
    np.testing.assert_allclose(effective_rank(z), slow_rank(z), rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1.0, 1e6, 1e20])
@pytest.mark.parametrize("shape", [(30, 7), (7, 30)])
def test_scale_changes_nothing(shape, scale):
    z = np.random.default_rng(1).normal(size=shape) + 0.5
    scaled = (scale * z).astype("float32")
    np.testing.assert_allclose(embedding_std(scaled), slow_std(z), rtol=1e-5)
    np.testing.assert_allclose(effective_rank(scaled), slow_rank(z), rtol=1e-4)


@pytest.mark.parametrize("shape", [(50, 6), (6, 50), (20_000, 16)])
@pytest.mark.parametrize("longest", [1.0, 100.0])
def test_a_single_direction_does_not_vary(shape, longest):
    """A point, and a ray: lengths are not what is measured."""
    point = np.random.default_rng(2).normal(size=(1, shape[1]))
    lengths = np.geomspace(1.0, longest, shape[0])[:, None]
    z = (lengths * point).astype("float32")
    np.testing.assert_allclose(embedding_std(z), 0.0, atol=5e-7)
    np.testing.assert_array_equal(effective_rank(z), 0.0)


@pytest.mark.parametrize("spread", [1e-1, 1e-3, 1e-5])
def test_small_spread_is_measured(spread):
    rng = np.random.default_rng(6)
    z = 1.0 + spread * rng.normal(size=(5000, 8))
    z = z.astype("float32")
    np.testing.assert_allclose(embedding_std(z), slow_std(z), rtol=0.01)
    np.testing.assert_allclose(effective_rank(z), slow_rank(z), rtol=0.01)


def test_zeros_do_not_vary():
    z = np.zeros((8, 3), "float32")
    np.testing.assert_array_equal(embedding_std(z), 0.0)
    np.testing.assert_array_equal(effective_rank(z), 0.0)


@pytest.mark.parametrize("shape", [(50, 6), (6, 50)])
def test_a_line_has_rank_one(shape):
    rng = np.random.default_rng(3)
    z = rng.normal(size=(shape[0], 1)) * rng.normal(size=(1, shape[1]))
    np.testing.assert_allclose(effective_rank(z), 1.0, rtol=1e-5)
    ahead = np.mean(z[:, 0] > 0)
    # Two opposite points of the sphere: the variance of a coin of +-1.
    np.testing.assert_allclose(
        embedding_std(z), 2 * np.sqrt(ahead * (1 - ahead)), rtol=1e-5
    )


@pytest.mark.parametrize("dim", [2, 5, 16])
def test_all_directions_alike(dim):
    """Plus and minus each axis: spread one and full rank, exactly."""
    z = np.concatenate([np.eye(dim), -np.eye(dim)])
    np.testing.assert_allclose(embedding_std(z), 1.0, rtol=1e-6)
    np.testing.assert_allclose(effective_rank(z), dim, rtol=1e-5)


def test_isotropic_sample_is_near_full_rank():
    z = np.random.default_rng(4).normal(size=(20_000, 10))
    np.testing.assert_allclose(embedding_std(z), 1.0, rtol=1e-3)
    np.testing.assert_allclose(effective_rank(z), 10.0, rtol=0.01)
    assert effective_rank(z[:6]) <= 5.0


def test_rank_does_not_depend_on_the_side_of_the_product():
    """Repeating rows, or adding zero columns, changes the branch alone."""
    z = embeddings((10, 12))
    tall = np.concatenate([z, z])
    wide = np.pad(tall, [(0, 0), (0, 30)])
    expected = slow_rank(z)
    for same in (z, tall, wide):
        np.testing.assert_allclose(effective_rank(same), expected, rtol=1e-4)
        np.testing.assert_allclose(embedding_std(same), slow_std(z), rtol=1e-5)


def test_rotation_changes_nothing():
    z = embeddings((40, 8))
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(8, 8)))[0]
    rotated = z.astype("float64") @ rotation
    np.testing.assert_allclose(embedding_std(rotated), slow_std(z), rtol=1e-5)
    np.testing.assert_allclose(effective_rank(rotated), slow_rank(z), rtol=1e-4)


@pytest.mark.parametrize("measure", [embedding_std, effective_rank])
def test_nan_does_not_pass_for_collapse(measure):
    z = embeddings((9, 4))
    z[3, 1] = np.nan
    assert np.isnan(measure(z))


@pytest.mark.parametrize("measure", [embedding_std, effective_rank])
@pytest.mark.parametrize("shape", [(8,), (4, 3, 2), ()])
def test_bad_shape(measure, shape):
    with pytest.raises(ValueError) as caught:
        measure(np.ones(shape, "float32"))
    assert "must have shape (N, d); received" in str(caught.value)
    assert str(shape) in str(caught.value)
