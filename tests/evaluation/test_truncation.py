"""Orders of coordinates, curves over how many are kept, intervals."""

import numpy as np
import pytest
from scipy import stats
from sklearn.decomposition import PCA

from minc_tf import diagnostics
from minc_tf.evaluation import (
    evaluate_dims,
    evaluate_features,
    knn_accuracy,
    pca,
    retrieval_metrics,
    summarise,
)
from minc_tf.evaluation.protocols.seeds import over_seeds
from minc_tf.evaluation.protocols.truncation import (
    resolve_order,
    truncation_curves,
)


def split(n, seed, classes=3, dim=8):
    """Classes that differ in the last features, which vary least."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    x = rng.normal(size=(n, dim)) * np.linspace(4, 0.5, dim) + 3
    x[:, -2:] += 2 * np.stack([y == 1, y == 2], 1)
    return x.astype("float32"), y


@pytest.fixture(scope="module")
def splits():
    return split(150, 0), split(60, 1)


def views(count=400):
    """Pairs that agree in the last features only."""
    rng = np.random.default_rng(3)
    x, _ = split(count, 2)
    noise = rng.normal(size=(2, *x.shape)) * 6
    noise[..., -2:] *= 0.01
    return [(x + noise[0], x + noise[1])]


def test_pca_is_that_of_scikit_learn(splits):
    (x, _), (test, _) = splits
    found = pca(x)
    expected = PCA().fit(x.astype("float64"))
    variance = expected.explained_variance_ * (len(x) - 1) / len(x)
    np.testing.assert_allclose(found.eigenvalues, variance, rtol=1e-5)
    ours, theirs = found(test, dim=5), expected.transform(test)[:, :5]
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-3)
    np.testing.assert_array_equal(pca(x, dim=5)(test), ours)


def test_pca_leaves_out_what_does_not_vary():
    x = np.random.default_rng(0).normal(size=(50, 3))
    x = np.concatenate([x, x[:, :1], np.ones((50, 1))], 1)
    assert len(pca(x).eigenvalues) == 3
    with pytest.raises(ValueError, match="dim must be between 1 and 3"):
        pca(x, dim=4)
    with pytest.raises(ValueError, match="features must vary"):
        pca(np.ones((5, 3)))


def test_rows_are_evaluations_of_first_coordinates(splits):
    train, test = splits
    rows = evaluate_dims(train, test, (2, 8), k=(5, 9), recall_at=(1, 4))
    assert [row["dim"] for row in rows] == [2, 8]
    for row in rows:
        x, queries = train[0][:, : row["dim"]], test[0][:, : row["dim"]]
        knn = knn_accuracy(x, train[1], queries, test[1], k=(5, 9))
        found = retrieval_metrics(
            queries, test[1], (1, 4), gallery=x, gallery_labels=train[1]
        )
        assert row == {
            "dim": row["dim"],
            "knn_accuracy_k5": knn[5],
            "knn_accuracy_k9": knn[9],
            **{f"retrieval_{key}": value for key, value in found.items()},
        }


def test_agreement_of_views_orders_better_than_variance(splits):
    train, test = splits
    settings = {"protocols": ["ridge"], "seeds": 2}
    curves = truncation_curves(
        lambda x: x,
        train,
        test,
        (2, 8),
        order="pairs",
        pairs=views(),
        **settings,
    )
    assert list(curves) == ["pairs", "pca"]
    first, every = curves["pairs"]
    assert first["ridge_accuracy"] > curves["pca"][0]["ridge_accuracy"] + 0.15
    # All coordinates are all features, in whatever order and scale.
    whole = evaluate_features(train, test, **settings)
    for rows in curves.values():
        assert abs(rows[1]["ridge_accuracy"] - whole["ridge_accuracy"]) < 0.06
    assert "ridge_accuracy_ci95" in every


def test_an_order_that_is_there_is_kept(splits):
    train, test = splits
    given = {"protocols": ["knn"], "k": 5}
    curves = truncation_curves(
        None, train, test, (1, 3), order="embedding", **given
    )
    assert curves["embedding"] == evaluate_dims(train, test, (1, 3), **given)
    assert curves["pca"] == evaluate_dims(
        train, test, (1, 3), ordering=pca(train[0]), **given
    )
    only = truncation_curves(None, train, test, (1, 3), order="pca", **given)
    assert only == {"pca": curves["pca"]}


@pytest.mark.parametrize(
    ("dims", "error", "match"),
    [
        ((2, 9), ValueError, "dims must be at most 8, .*received 9"),
        ((4, 2), ValueError, r"dims must be positive and ascend.*\[4, 2\]"),
        ((2, 2), ValueError, "ascend"),
        ((0, 2), ValueError, "positive"),
        ((), ValueError, "at least one"),
        ((2.0, 4), TypeError, r"int.*received 2\.0"),
    ],
)
def test_wrong_dims(splits, dims, error, match):
    with pytest.raises(error, match=match):
        evaluate_dims(*splits, dims, protocols=["knn"], k=5)


def test_dims_beyond_the_rank_of_an_order(splits):
    train, test = splits
    ordering = diagnostics.order(lambda x: x, views(), dim=4)
    with pytest.raises(ValueError, match="dims must be at most 4"):
        evaluate_dims(train, test, (5,), ordering=ordering, k=5)


def test_which_order():
    ordered = {"embedding_ordered": True}
    assert resolve_order("auto", "embedding", ordered) == "embedding"
    assert resolve_order("auto", "features", ordered) == "pairs"
    assert resolve_order("auto", "embedding", None) == "pairs"
    assert resolve_order("pca", "embedding", ordered) == "pca"
    with pytest.raises(ValueError, match="order='embedding' needs"):
        resolve_order("embedding", "features", ordered)
    with pytest.raises(ValueError, match="order must be one of 'auto'"):
        resolve_order("size", "features", None)


def test_mean_and_interval():
    values = [0.61, 0.64, 0.60, 0.66]
    mean, half = summarise(values)
    low, high = stats.t.interval(
        0.95, 3, loc=np.mean(values), scale=stats.sem(values)
    )
    assert mean == pytest.approx(np.mean(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert summarise([0.5]) == (0.5, None)
    assert summarise([0.5, 0.5]) == (0.5, 0.0)
    for wrong in ([], [0.1, np.nan]):
        with pytest.raises(ValueError, match="values must be one or more"):
            summarise(wrong)


def test_over_seeds_keeps_what_each_chose():
    def run(seed):
        return {"accuracy": seed / 10, "l2": 10.0**-seed}

    assert over_seeds("x", run, [3]) == {"x_accuracy": 0.3, "x_l2": 1e-3}
    found = over_seeds("x", run, range(1, 4))
    assert found["x_accuracy"] == pytest.approx(0.2)
    assert found["x_accuracy_ci95"] == pytest.approx(
        0.1 / np.sqrt(3) * stats.t.ppf(0.975, 2)
    )
    assert found["x_l2"] == [0.1, 0.01, 0.001]
