"""Hessian eigenvalues against dense ones, of matrices and of a network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from minc_tf.diagnostics import hessian_density, hessian_eigenvalues
from minc_tf.objectives import NTXent


def quadratic(eigenvalues, seed=0):
    """A loss of one variable whose Hessian has these eigenvalues."""
    size = len(eigenvalues)
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(size, size)))
    hessian = tf.constant(rotation * eigenvalues @ rotation.T, "float32")
    weights = tf.Variable(rng.normal(size=size).astype("float32"))

    def loss():
        return tf.tensordot(weights, tf.linalg.matvec(hessian, weights), 1) / 2

    return loss, [weights]


@pytest.fixture(scope="module")
def network():
    """NT-Xent of a tiny network: the loss, its weights, the dense Hessian."""
    keras.utils.set_random_seed(1)
    tower = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, "tanh"),
            keras.layers.Dense(3),
        ]
    )
    objective = NTXent()
    view1 = keras.random.normal((12, 4), seed=0)
    view2 = view1 + 0.3 * keras.random.normal((12, 4), seed=1)
    objective(tower(view1), tower(view2))
    weights = tower.trainable_variables

    def loss():
        return objective(tower(view1), tower(view2))

    values = [v.value for v in weights]
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            scalar = loss()
        gradients = inner.gradient(scalar, values)
        flat = tf.concat([tf.reshape(g, [-1]) for g in gradients], 0)
    rows = [
        tf.reshape(part, (flat.shape[0], -1))
        for part in outer.jacobian(flat, values, experimental_use_pfor=False)
    ]
    dense = tf.concat(rows, axis=1).numpy()
    return loss, weights, np.linalg.eigvalsh((dense + dense.T) / 2)


def test_largest_of_a_network(network):
    loss, weights, dense = network
    expected = dense[np.argsort(-np.abs(dense))][:5]
    found = hessian_eigenvalues(loss, weights, 5, iterations=30)
    np.testing.assert_allclose(found, expected, rtol=0.01)
    first = hessian_eigenvalues(loss, weights)
    np.testing.assert_allclose(first, expected[:1], rtol=0.01)


def test_density_of_a_network(network):
    """Trace, and trace of the square, from a few random vectors."""
    loss, weights, dense = network
    values, shares = hessian_density(loss, weights, draws=100)
    assert np.all(np.diff(values) >= 0)
    assert shares.sum() == pytest.approx(1.0)
    scale = float(np.sqrt(np.mean(dense**2)))
    assert values @ shares == pytest.approx(
        float(dense.mean()), abs=0.15 * scale
    )
    assert values**2 @ shares == pytest.approx(
        float(np.mean(dense**2)), rel=0.25
    )


def test_signs_and_all_eigenvalues():
    eigenvalues = np.array([-7.0, 5.0, 1.0, 0.5, -0.1, 0.0])
    loss, weights = quadratic(eigenvalues)
    found = hessian_eigenvalues(loss, weights, 6)
    np.testing.assert_allclose(found, eigenvalues, rtol=1e-4, atol=1e-4)


def test_few_iterations_find_the_top_of_many():
    eigenvalues = np.concatenate([[50.0, -30.0], np.linspace(0, 1, 400)])
    loss, weights = quadratic(eigenvalues)
    found = hessian_eigenvalues(loss, weights, 2, iterations=12)
    np.testing.assert_allclose(found, [50.0, -30.0], rtol=1e-4)


def test_equal_eigenvalues_end_early():
    loss, weights = quadratic(np.full(8, 3.0))
    found = hessian_eigenvalues(loss, weights, 1)
    np.testing.assert_allclose(found, [3.0], rtol=1e-5)
    values, shares = hessian_density(loss, weights, draws=1)
    np.testing.assert_allclose(values @ shares, 3.0, rtol=1e-5)


def test_bad_input():
    loss, weights = quadratic(np.ones(4))
    other = [tf.Variable(1.0)]
    with pytest.raises(ValueError, match="must depend on the variables"):
        hessian_eigenvalues(loss, other)
    with pytest.raises(ValueError, match=r"in \[1, 4\]; received 5"):
        hessian_eigenvalues(loss, weights, 5)
    with pytest.raises(ValueError, match="iterations must be an int >="):
        hessian_eigenvalues(loss, weights, 3, iterations=2)
    with pytest.raises(ValueError, match=r"draws must .* received 0"):
        hessian_density(loss, weights, draws=0)
    with pytest.raises(ValueError, match="must be finite; received nan"):
        hessian_eigenvalues(lambda: loss() * np.nan, weights)
