"""Agreement with scikit-learn on the same features."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from minc_tf.evaluation import (
    knn_accuracy,
    linear_accuracy,
    ridge_accuracy,
    transfer_accuracy,
)
from minc_tf.evaluation.protocols.transfer import class_accuracy

#: Half a point: ten of the 2,000 test samples.
HALF_A_POINT = 0.005


def mixture(n, seed, dim=12, classes=5, parts=3):
    """Classes of several Gaussians each, which overlap."""
    means = np.random.default_rng(7).normal(size=(classes, parts, dim))
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    x = 0.9 * means[y, rng.integers(0, parts, n)] + rng.normal(size=(n, dim))
    return (x * np.logspace(0, 1, dim)).astype("float32"), y


@pytest.fixture(scope="module")
def data():
    return (*mixture(1000, 0), *mixture(2000, 1))


@pytest.fixture(scope="module")
def standardised(data):
    x, y, test_x, test_y = data
    scaler = StandardScaler().fit(x)
    return scaler.transform(x), y, scaler.transform(test_x), test_y


@pytest.mark.parametrize("l2", [1e-1, 1e-3])
def test_linear_probe_is_logistic_regression(data, standardised, l2):
    x, y, test_x, test_y = standardised
    model = LogisticRegression(C=1 / (l2 * len(x)), max_iter=1000).fit(x, y)
    expected = model.score(test_x, test_y)
    assert 0.35 < expected < 0.75
    found = linear_accuracy(*data, l2=l2)["accuracy"]
    assert abs(found - expected) <= HALF_A_POINT


@pytest.mark.parametrize("k", [1, 20, 200])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_knn_is_that_of_scikit_learn(data, k, temperature):
    x, y, test_x, test_y = data
    model = KNeighborsClassifier(
        k,
        metric="cosine",
        weights=lambda distance: np.exp((1 - distance) / temperature),
    ).fit(x, y)
    expected = model.score(test_x, test_y)
    assert 0.35 < expected < 0.85
    found = knn_accuracy(*data, k=k, temperature=temperature)
    assert abs(found - expected) <= HALF_A_POINT


def test_ridge_is_that_of_scikit_learn(data, standardised):
    x, y, test_x, test_y = standardised
    # Targets of -1 and 1 instead of 0 and 1 double everything.
    model = RidgeClassifier(alpha=0.1 * len(x)).fit(x, y)
    expected = model.score(test_x, test_y)
    found = ridge_accuracy(*data, l2=0.1)["accuracy"]
    assert abs(found - expected) <= HALF_A_POINT


def test_transfer_and_its_mean_over_classes(data):
    x, y, test_x, test_y = data
    found = transfer_accuracy((x, y), (test_x, test_y), k=20, seeds=[4])
    alone = linear_accuracy(*data, seed=4)
    assert found["linear_accuracy"] == alone["accuracy"]
    assert found["linear_l2"] == alone["l2"]
    assert found["knn_accuracy_k20"] == knn_accuracy(*data, k=20)
    assert 0.35 < found["linear_class_accuracy"] < 0.75
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 2, 3], size=90, p=[0.7, 0.2, 0.1])
    guessed = rng.choice([0, 2, 3], size=90)
    predicted = np.where(rng.random(90) < 0.6, labels, guessed)
    assert class_accuracy(labels, predicted) == pytest.approx(
        balanced_accuracy_score(labels, predicted)
    )
