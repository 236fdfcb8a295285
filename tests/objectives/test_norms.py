"""Norms of embeddings, and their gradients, against float64 NumPy."""

import numpy as np
from gradients import differentiated
from keras import ops

from minc_tf.objectives.norms import clip_norm, unit_norm

ROWS = np.array(
    [
        [0.0, 0.0, 0.0],  # zero
        [0.5, -0.3, 0.1],  # inside a bound of sqrt(2)
        [3.0, -1.0, 2.0],  # outside
        [1e20, 1e20, -1e20],  # squares overflow
        [1e-20, 0.0, 1e-20],  # squares underflow
    ]
)
UPSTREAM = np.random.default_rng(0).normal(size=ROWS.shape)


def value_and_gradient(function):
    rows, upstream = ROWS.astype("float32"), UPSTREAM.astype("float32")
    product = differentiated(lambda z: ops.sum(function(z) * upstream))
    return function(ops.convert_to_tensor(rows)), product(rows)[1]


def assert_rows_close(found, expected):
    for row in range(len(ROWS)):
        np.testing.assert_allclose(
            found[row], expected[row], rtol=1e-4, atol=1e-24
        )


def scaled(norm):
    """`norm * z / ||z||` and its gradient; zero rows are left alone."""
    length = np.linalg.norm(ROWS, axis=1, keepdims=True)
    length = np.where(length > 0, length, 1.0)
    unit = ROWS / length
    along = np.sum(unit * UPSTREAM, axis=1, keepdims=True) * unit
    return norm * unit, norm / length * (UPSTREAM - along)


def test_clip_norm():
    mu = 2.0
    outside = np.linalg.norm(ROWS, axis=1, keepdims=True) >= np.sqrt(mu)
    value, gradient = scaled(np.sqrt(mu))
    found, found_gradient = value_and_gradient(lambda z: clip_norm(z, mu))
    assert_rows_close(found, np.where(outside, value, ROWS))
    assert_rows_close(found_gradient, np.where(outside, gradient, UPSTREAM))
    assert clip_norm(ROWS, None) is ROWS


def test_unit_norm():
    value, gradient = scaled(1.0)
    found, found_gradient = value_and_gradient(unit_norm)
    assert_rows_close(found, value)
    # A zero row has no direction; its gradient passes unchanged.
    assert_rows_close(found_gradient, gradient)


def test_unit_norm_of_an_array_stays_an_array():
    rows = ROWS.astype("float32")
    found = unit_norm(rows)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    assert_rows_close(found, scaled(1.0)[0])
