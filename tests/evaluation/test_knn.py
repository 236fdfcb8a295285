"""Weighted kNN against a loop that does what the paper says."""

import numpy as np
import pytest

from minc_tf.evaluation import knn_accuracy, knn_predict
from minc_tf.evaluation.protocols import knn


def slow_knn(train_x, train_y, test_x, k, temperature, classes):
    def normalize(v):
        return v / np.sqrt(np.sum(v**2))

    predictions = []
    for query in test_x.astype("float64"):
        similarity = [
            float(np.dot(normalize(query), normalize(x)))
            for x in train_x.astype("float64")
        ]
        nearest = sorted(range(len(train_x)), key=lambda i: -similarity[i])[:k]
        votes = np.zeros(classes)
        for i in nearest:
            votes[train_y[i]] += np.exp(similarity[i] / temperature)
        predictions.append(int(np.argmax(votes)))
    return np.array(predictions)


def samples(n, seed, classes=4, dim=6):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(n, dim)).astype("float32") * 3,
        rng.integers(0, classes, n),
    )


@pytest.mark.parametrize("temperature", [0.07, 0.5, 10.0])
def test_equals_the_slow_formula(temperature):
    x, y = samples(80, 0)
    test_x, _ = samples(50, 1)
    found = knn_predict(x, y, test_x, k=(1, 7, 80), temperature=temperature)
    assert set(found) == {1, 7, 80}
    for k, predictions in found.items():
        assert predictions.dtype == np.int64
        np.testing.assert_array_equal(
            predictions, slow_knn(x, y, test_x, k, temperature, 4)
        )
        np.testing.assert_array_equal(
            predictions,
            knn_predict(x, y, test_x, k=k, temperature=temperature),
        )


def test_nearest_rows():
    rng = np.random.default_rng(0)
    train, queries = rng.normal(size=(50, 6)), rng.normal(size=(7, 6))
    train[30] = train[3]  # the first of equals comes first
    values, rows = knn.nearest_rows(
        queries.astype("float32"), train.T.astype("float32"), 50
    )
    products = queries @ train.T
    expected = np.argsort(-products, axis=1, kind="stable")
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(
        values, np.take_along_axis(products, expected, 1), rtol=1e-4, atol=1e-5
    )


def test_chunks_do_not_change_the_result(monkeypatch):
    x, y = samples(80, 0)
    test_x, _ = samples(50, 1)
    expected = knn_predict(x, y, test_x, k=9)
    monkeypatch.setattr(knn, "_CHUNK_ELEMENTS", 7 * 80)  # 7 rows; 1 is left
    np.testing.assert_array_equal(knn_predict(x, y, test_x, k=9), expected)


def test_low_temperature_is_the_nearest_neighbour():
    x, y = samples(80, 0)
    test_x, _ = samples(50, 1)
    np.testing.assert_array_equal(
        knn_predict(x, y, test_x, k=80, temperature=1e-4),
        knn_predict(x, y, test_x, k=1),
    )


def test_scale_of_a_feature_vector_does_not_matter():
    x, y = samples(80, 0)
    test_x, _ = samples(50, 1)
    scale = np.linspace(1e-3, 1e3, 80, dtype="float32")[:, None]
    np.testing.assert_array_equal(
        knn_predict(x * scale, y, test_x * 100, k=5),
        knn_predict(x, y, test_x, k=5),
    )
    # A zero vector (dead features) is no error and no NaN.
    x[0] = test_x[0] = 0
    assert knn_predict(x, y, test_x, k=5).shape == (50,)


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_scale_that_float32_cannot_square(scale):
    x, y = samples(80, 0)
    test_x, _ = samples(50, 1)
    scale = np.float32(scale)
    np.testing.assert_array_equal(
        knn_predict(x * scale, y, test_x * scale, k=5),
        knn_predict(x, y, test_x, k=5),
    )


def test_accuracy():
    x, y = samples(80, 0)
    test_x, test_y = samples(50, 1)
    predictions = slow_knn(x, y, test_x, 5, 0.07, 4)
    expected = np.mean(predictions == test_y)
    assert knn_accuracy(x, y, test_x, test_y, k=5) == expected
    found = knn_accuracy(x, y, test_x, test_y, k=[5, 1])
    assert found[5] == expected
    assert knn_accuracy(x, y, x, y, k=1) == 1.0
    # Classes that nobody can predict are errors, not crashes.
    assert knn_accuracy(x, y, test_x, test_y + 9, k=5) == 0.0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": 81}, ValueError, "between 1 and the 80 .*received 81"),
        ({"k": (5, 0)}, ValueError, "received 0"),
        ({"k": ()}, ValueError, "k must hold at least one"),
        ({"k": 5.0}, TypeError, "k must be int .*received 5.0"),
        ({"temperature": 0.0}, ValueError, "positive; received 0.0"),
        ({"num_classes": 3}, ValueError, "at least 4, .*received 3"),
        (
            {"train_labels": np.full(80, -1)},
            ValueError,
            "received 80 unlabelled .* of 80",
        ),
        (
            {"train_labels": np.full(80, 2)},
            ValueError,
            "at least two classes; received only class 2",
        ),
        ({"train_labels": np.zeros(9, int)}, ValueError, r"shape \(80,\)"),
        ({"train_labels": np.zeros(80)}, TypeError, "integer .*float64"),
        (
            {"test_features": np.zeros((3, 7))},
            ValueError,
            r"the 6 features .*received shape \(3, 7\)",
        ),
        (
            {"test_features": np.zeros((0, 6))},
            ValueError,
            r"non-empty .*received shape \(0, 6\)",
        ),
        (
            {"test_features": np.array([[np.nan] * 6, [1] * 6])},
            ValueError,
            "received 6 NaN or infinite values in 1 of 2 samples",
        ),
    ],
)
def test_bad_input(change, error, message):
    x, y = samples(80, 0)
    arguments = {
        "train_features": x,
        "train_labels": y,
        "test_features": x[:4],
        "k": 5,
        **change,
    }
    with pytest.raises(error, match=message):
        knn_predict(**arguments)


def test_unlabelled_test_split():
    x, y = samples(80, 0)
    with pytest.raises(
        ValueError, match=r"test_labels .*received 80 unlabelled"
    ):
        knn_accuracy(x, y, x, np.full(80, -1), k=5)
