"""Linear probe and ridge against independent optima."""

import numpy as np
import pytest
from scipy import optimize

from minc_tf.evaluation import LinearProbe, linear_accuracy, ridge_accuracy
from minc_tf.evaluation.protocols.linear import softmax_regression_loss
from minc_tf.evaluation.protocols.ridge import ridge_weights
from minc_tf.evaluation.protocols.standardize import (
    Standardizer,
)
from minc_tf.evaluation.protocols.subsets import hold_out


def samples(n=300, seed=0, dim=6, classes=3, spread=1.0):
    """Gaussian classes in correlated features of very different scale."""
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(99)
    means = spread * fixed.normal(size=(classes, dim))
    mix = fixed.normal(size=(dim, dim)) * np.logspace(0, -2, dim)
    y = rng.integers(0, classes, n)
    x = (rng.normal(size=(n, dim)) + means[y]) @ mix + 5
    return x.astype("float32"), y


def slow_loss(weights, bias, x, y, l2):
    total = 0.0
    for row, label in zip(x, y, strict=True):
        logits = row @ weights + bias
        total += np.log(np.sum(np.exp(logits))) - logits[label]
    return total / len(y) + l2 / 2 * np.sum(weights**2)


def test_loss_and_gradient():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    w, b = rng.normal(size=(4, 3)), rng.normal(size=3)
    loss, dw, db = softmax_regression_loss(w, b, x, y, l2=0.3)
    np.testing.assert_allclose(loss, slow_loss(w, b, x, y, 0.3), rtol=1e-12)

    def flat(v):
        return slow_loss(v[:12].reshape(4, 3), v[12:], x, y, 0.3)

    numeric = optimize.approx_fprime(np.append(w, b), flat, 1e-6)
    np.testing.assert_allclose(np.append(dw, db), numeric, atol=1e-5)


@pytest.mark.parametrize("l2", [1e-1, 1e-3, 1e-5])
def test_fit_is_the_optimum(l2):
    x, y = samples()
    probe = LinearProbe(l2=l2).fit(x, y)
    x64 = x.astype("float64")
    standard = (x64 - x64.mean(0)) / x64.std(0)

    def loss(weights, bias):
        return slow_loss(weights, bias, standard, y, l2)

    best = loss(probe.weights.astype("float64"), probe.bias)
    # Convex: a solver that shares nothing with ours, from a cold start in
    # double precision, must not find less.
    found = optimize.minimize(
        lambda v: loss(v[:18].reshape(6, 3), v[18:]),
        np.zeros(21),
        method="BFGS",
        options={"gtol": 1e-5, "maxiter": 300},
    )
    assert best <= found.fun + 1e-5
    # Away from the flattest directions the weights are equal too.
    if l2 >= 1e-3:
        weights = found.x[:18].reshape(6, 3)
        np.testing.assert_allclose(probe.weights, weights, atol=2e-2)


def test_two_symmetric_points_have_a_known_optimum():
    # x = -1, +1 with labels 0, 1: w = (-a, a) solves
    # l2 a = sigmoid(-2 a) by symmetry.
    x = np.repeat([[-1.0], [1.0]], 10, axis=0)
    y = np.repeat([0, 1], 10)
    probe = LinearProbe(l2=0.1).fit(x, y)
    a = optimize.brentq(lambda a: 0.1 * a - 1 / (1 + np.exp(2 * a)), 0, 10)
    np.testing.assert_allclose(probe.weights, [[-a, a]], atol=1e-3)
    np.testing.assert_allclose(probe.bias[0], probe.bias[1], atol=1e-4)


def test_separable_classes_and_bayes_accuracy():
    x, y = samples(spread=8.0)
    test_x, test_y = samples(seed=1, spread=8.0)
    assert linear_accuracy(x, y, test_x, test_y)["accuracy"] == 1.0
    assert ridge_accuracy(x, y, test_x, test_y)["accuracy"] > 0.99
    # Two overlapping Gaussians: the optimal accuracy is Phi(1) = 0.841.
    rng = np.random.default_rng(0)
    y = np.arange(4000) % 2
    x = rng.normal(size=(4000, 3)) + (2 * y - 1)[:, None] * [1, 0, 0]
    for accuracy in (linear_accuracy, ridge_accuracy):
        found = accuracy(x[:2000], y[:2000], x[2000:], y[2000:])
        assert abs(found["accuracy"] - 0.841) < 0.025


def test_scale_and_shift_of_features_do_not_matter():
    x, y = samples()
    test_x, test_y = samples(seed=1)
    scale = np.logspace(-3, 3, 6).astype("float32")
    for accuracy in (linear_accuracy, ridge_accuracy):
        assert accuracy(x * scale - 2, y, test_x * scale - 2, test_y)[
            "accuracy"
        ] == pytest.approx(accuracy(x, y, test_x, test_y)["accuracy"], abs=0.01)


def test_constant_feature_is_harmless():
    x, y = samples()
    constant = np.full((len(x), 1), 1234.567, "float32")
    with_constant = np.hstack([x, constant])
    assert np.all(Standardizer(with_constant)(with_constant)[:, -1] == 0)
    probe = LinearProbe(l2=1e-3).fit(with_constant, y)
    expected = LinearProbe(l2=1e-3).fit(x, y)
    np.testing.assert_array_equal(
        probe.predict(with_constant), expected.predict(x)
    )


def test_l2_is_chosen_on_held_out_training_samples():
    # 40 noise features and 30 samples a fit: only a strong penalty holds.
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = rng.normal(size=(200, 150))
    x[:, 0] += y
    kept, held = hold_out(200, 0.1, seed=3)
    accuracies = {}
    for l2 in (1.0, 1e-5):
        probe = LinearProbe(l2=l2).fit(x[kept], y[kept])
        accuracies[l2] = np.mean(probe.predict(x[held]) == y[held])
    probe = LinearProbe(l2=(1e-5, 1.0), seed=3).fit(x, y)
    assert probe.l2 == max((1.0, 1e-5), key=accuracies.get)
    assert probe.held_out_accuracy == max(accuracies.values())
    refit = LinearProbe(l2=probe.l2).fit(x, y)
    np.testing.assert_allclose(probe.weights, refit.weights, atol=5e-3)


def test_same_seed_same_result():
    x, y = samples()
    test_x, test_y = samples(seed=1)
    one, two = (linear_accuracy(x, y, test_x, test_y, seed=5) for _ in range(2))
    assert one == two


def test_hold_out():
    kept, held = hold_out(100, 0.1, seed=0)
    assert len(held) == 10
    assert sorted([*kept, *held]) == list(range(100))
    assert not np.array_equal(held, hold_out(100, 0.1, seed=1)[1])


def test_ridge_weights_solve_the_least_squares():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)
    x -= x.mean(0)
    grid = [0.5, 1e-3]
    # Ridge is least squares with sqrt(N l2) I appended to the samples.
    for (w, b), l2 in zip(ridge_weights(x, y, 3, grid), grid, strict=True):
        rows = np.hstack([x, np.ones((40, 1))])
        penalty = np.hstack([np.sqrt(40 * l2) * np.eye(5), np.zeros((5, 1))])
        targets = np.vstack([np.eye(3)[y], np.zeros((5, 3))])
        expected = np.linalg.lstsq(np.vstack([rows, penalty]), targets)[0]
        np.testing.assert_allclose(np.vstack([w, b]), expected, atol=1e-10)


def test_warns_when_it_stops_early():
    x, y = samples()
    with pytest.warns(UserWarning, match="max_iterations=2; raise it"):
        LinearProbe(l2=1e-5, max_iterations=2).fit(x, y)


@pytest.mark.parametrize("accuracy", [linear_accuracy, ridge_accuracy])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"train_y": np.full(300, -1)}, ValueError, "300 unlabelled"),
        ({"test_y": np.full(300, -1)}, ValueError, "300 unlabelled"),
        ({"train_y": np.full(300, 1)}, ValueError, "only class 1 in 300"),
        ({"train_y": np.zeros(300)}, TypeError, "integer .*float64"),
        ({"test_x": np.zeros((300, 5))}, ValueError, "the 6 features"),
        ({"l2": 0.0}, ValueError, "l2 must be a positive .*received 0.0"),
        ({"l2": ()}, ValueError, "l2 must be a positive"),
        ({"held_out": 1.5}, ValueError, r"in \(0, 1\); received 1.5"),
        ({"held_out": 1e-4}, ValueError, "leave samples .*received 300"),
    ],
)
def test_bad_input(accuracy, change, error, message):
    x, y = samples()
    arguments = {"train_x": x, "train_y": y, "test_x": x, "test_y": y}
    with pytest.raises(error, match=message):
        accuracy(**{**arguments, **change})


def test_predict_before_fit():
    with pytest.raises(ValueError, match="fitted before predict"):
        LinearProbe().predict(np.zeros((2, 3)))
