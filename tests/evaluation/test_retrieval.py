"""Retrieval against rankings by hand and scikit-learn."""

import logging

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from minc_tf.evaluation import retrieval_metrics
from minc_tf.evaluation.protocols import retrieval


def samples(n, seed=0, dim=16, classes=4):
    """Overlapping classes of signs: their cosines are exact, and often tie."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    means = np.random.default_rng(99).normal(size=(classes, dim))
    x = np.sign(rng.normal(size=(n, dim)) + 0.7 * means[y])
    return x.astype("float32"), y


def slow_metrics(queries, labels, items, item_labels, ks, alone=False):
    """One query after the other, the irrelevant items of a tie first."""
    unit = items / np.linalg.norm(items, axis=1, keepdims=True)
    recalls, precisions = [], []
    for row, (query, label) in enumerate(zip(queries, labels, strict=True)):
        similarity = unit @ (query / np.linalg.norm(query))
        relevant = item_labels == label
        if alone:
            similarity = np.delete(similarity, row)
            relevant = np.delete(relevant, row)
        if not relevant.any():
            continue
        order = np.lexsort((relevant, -similarity))
        recalls.append([relevant[order[:k]].any() for k in ks])
        precisions.append(average_precision_score(relevant, similarity))
    found = {
        f"recall_at_{k}": value
        for k, value in zip(ks, np.mean(recalls, 0), strict=True)
    }
    return {**found, "map": np.mean(precisions)}


@pytest.mark.parametrize("chunk", [2**24, 700])
def test_against_a_gallery(monkeypatch, chunk):
    monkeypatch.setattr(retrieval, "_CHUNK_ELEMENTS", chunk)
    (x, y), (items, item_labels) = samples(50), samples(120, seed=1)
    ks = (1, 3, 10)
    found = retrieval_metrics(
        x, y, ks, gallery=items, gallery_labels=item_labels
    )
    expected = slow_metrics(x, y, items, item_labels, ks)
    assert found == pytest.approx(expected, abs=1e-12)
    assert 0.3 < found["recall_at_1"] < found["recall_at_3"] < 1
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize("chunk", [2**24, 300])
def test_among_themselves(monkeypatch, caplog, chunk):
    monkeypatch.setattr(retrieval, "_CHUNK_ELEMENTS", chunk)
    x, y = samples(60)
    y[7] = 9  # nothing to find
    with caplog.at_level(logging.WARNING, "minc_tf"):
        found = retrieval_metrics(x, y)
    expected = slow_metrics(x, y, x, y, (1, 5, 10), alone=True)
    assert found == pytest.approx(expected, abs=1e-12)
    assert "1 of 60 queries" in caplog.text


@pytest.mark.parametrize("scale", [2.0**80, 2.0**-80])
def test_features_whose_squares_leave_float32(scale):
    x, y = samples(60)
    with np.errstate(over="raise"):
        assert retrieval_metrics(x * scale, y) == retrieval_metrics(x, y)


def test_ties_do_not_depend_on_the_order():
    x = np.ones((6, 3))
    y = np.array([0, 0, 0, 1, 1, 1])
    for order in (
        np.arange(6),
        np.arange(6)[::-1],
        np.array([3, 0, 4, 1, 5, 2]),
    ):
        found = retrieval_metrics(
            x[:1], y[:1], 3, gallery=x, gallery_labels=y[order]
        )
        # All at once: half of what is retrieved is relevant.
        assert found == {"recall_at_3": 0.0, "map": 0.5}


def test_similarity_is_that_of_directions():
    x, y = samples(40)
    x += np.random.default_rng(5).normal(size=x.shape).astype("float32")
    scale = np.logspace(-3, 3, 40)[:, None].astype("float32")
    found = retrieval_metrics(x, y)
    assert retrieval_metrics(scale * x, y) == pytest.approx(found, abs=1e-9)


def test_perfect_and_worst_ranking():
    angles = np.radians([0, 10, 90, 100])
    x = np.stack([np.cos(angles), np.sin(angles)], 1)
    assert retrieval_metrics(x, np.array([0, 0, 1, 1]), 1) == {
        "recall_at_1": 1.0,
        "map": 1.0,
    }
    # The only relevant one is last of three.
    found = retrieval_metrics(
        x[:1],
        np.array([1]),
        (2, 3),
        gallery=x[1:],
        gallery_labels=np.array([0, 0, 1]),
    )
    assert found == pytest.approx(
        {"recall_at_2": 0.0, "recall_at_3": 1.0, "map": 1 / 3}
    )


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"ks": (1, 20)}, ValueError, r"ks .*19 other samples; received 20"),
        ({"ks": 0}, ValueError, "ks must be between 1"),
        ({"ks": 1.5}, TypeError, r"ks must be int .*received 1\.5"),
        ({"ks": ()}, ValueError, "ks must hold at least one int"),
        ({"labels": np.zeros(20, int)}, ValueError, "only class 0"),
        ({"labels": np.full(20, -1)}, ValueError, "20 unlabelled"),
        ({"labels": np.arange(20)}, ValueError, "20 queries without any"),
        ({"features": np.full((20, 16), np.nan)}, ValueError, "finite"),
        ({"gallery": np.ones((5, 16))}, ValueError, "no gallery_labels"),
        (
            {"gallery": np.ones((5, 4)), "gallery_labels": np.arange(5)},
            ValueError,
            "gallery must have the 16 features",
        ),
    ],
)
def test_wrong_input(change, error, match):
    x, y = samples(20)
    arguments = {"features": x, "labels": y, **change}
    with pytest.raises(error, match=match):
        retrieval_metrics(**arguments)
