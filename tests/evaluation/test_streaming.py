"""Protocols on tables, by blocks, against those in memory."""

import numpy as np
import pytest

from minc_tf.evaluation import (
    LinearProbe,
    Vectors,
    evaluate_features,
    evaluate_vectors,
    knn_accuracy,
    linear_accuracy,
    ridge_accuracy,
    stream_knn,
    stream_linear,
    stream_ridge,
)
from minc_tf.evaluation.protocols.linear import ArraySamples
from minc_tf.evaluation.protocols.ridge import ridge_weights
from minc_tf.evaluation.protocols.standardize import Standardizer
from minc_tf.evaluation.protocols.subsets import hold_out
from minc_tf.evaluation.streaming import knn, samples
from minc_tf.evaluation.streaming.linear import _Passes
from minc_tf.evaluation.streaming.moments import Moments
from minc_tf.evaluation.streaming.ridge import ridge_classifiers
from minc_tf.evaluation.streaming.samples import Samples, check_samples

from .test_linear import samples as gaussians
from .vector_files import write_part, write_parts

PAIRS = {
    "ridge": (stream_ridge, ridge_accuracy),
    "linear": (stream_linear, linear_accuracy),
    "knn": (stream_knn, knn_accuracy),
}


def make(count, seed):
    """Three overlapping classes in 8 features; class 2 comes late.

    Two features are constant, 0 and not.
    """
    x, y = gaussians(count, seed)
    constant = np.tile(np.float32([1234.567, 0]), (count, 1))
    order = np.argsort(y == 2, kind="stable")
    return np.hstack([x, constant])[order], y[order]


@pytest.fixture(scope="module")
def arrays():
    """Training and test samples in memory."""
    return *make(400, 0), *make(150, 1)


@pytest.fixture(scope="module")
def tables(arrays, tmp_path_factory):
    """The same in uneven parts, with rows of bad images between."""
    folder = tmp_path_factory.mktemp("tables")
    x, y, test_x, test_y = arrays
    bad = [0, 5, 6, 130, 131, 132, 133, 407]
    rows = np.setdiff1d(range(408), bad)
    all_x, all_y = np.full((408, 8), 9e9, "float32"), np.zeros(408, int)
    all_x[rows], all_y[rows] = x, y
    train = write_parts(folder / "train", all_x, all_y, (7, 1, 122, 278), bad)
    test = folder / "test.parquet"
    write_part(test, test_x, test_y)
    return train, test


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 37 samples, which no part holds a whole number of."""
    monkeypatch.setattr(samples, "_BLOCK_ELEMENTS", 37 * 8)
    monkeypatch.setattr(knn, "_QUERY_ELEMENTS", 40 * (8 + 3 * 20))


def standardised(x, y):
    scaler = Standardizer(x)
    return scaler(x), y


def test_moments_are_those_of_the_arrays(arrays, tables):
    x, y = arrays[:2]
    train, _ = check_samples(*tables)
    moments = Moments(8, 3).add_all(train.blocks())
    assert moments.count == 400
    x64 = x.astype("float64")
    np.testing.assert_allclose(moments.mean, x64.mean(0), rtol=1e-12)
    scale = np.where(x64.std(0) > 0, x64.std(0), 1)
    np.testing.assert_allclose(moments.scaler().scale, scale, rtol=1e-5)
    standard = (x64 - x64.mean(0)) / scale
    targets = np.eye(3)[y]
    np.testing.assert_allclose(
        moments.covariance(), standard.T @ standard / 400, atol=1e-5
    )
    np.testing.assert_allclose(
        moments.correlation(), standard.T @ targets / 400, atol=1e-5
    )
    np.testing.assert_allclose(moments.shares(), targets.mean(0), rtol=1e-12)
    assert np.all(moments.scaler()(x)[:, -2:] == 0)


def test_moments_of_a_feature_far_from_zero():
    """Ten thousand standard deviations away, in blocks of other means."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 2)) + np.repeat([0, 3, -3], 200)[:, None] + 1e4
    x = x.astype("float32")
    moments = Moments(2, 2)
    for start in range(0, 600, 50):
        moments.add(x[start : start + 50], np.arange(50) % 2)
    expected = np.cov(x.astype("float64"), rowvar=False, bias=True)
    np.testing.assert_allclose(moments.scatter / 600, expected, rtol=1e-5)


def test_ridge_weights(arrays, tables):
    x, y = arrays[:2]
    train, _ = check_samples(*tables)
    moments = Moments(8, 3).add_all(train.blocks())
    grid = [1.0, 1e-2, 1e-4]
    classifiers = ridge_classifiers(moments, grid)
    expected = ridge_weights(*standardised(x, y), 3, grid)
    for found, (weights, bias) in zip(classifiers, expected, strict=True):
        np.testing.assert_allclose(found.weights, weights, atol=1e-4)
        np.testing.assert_allclose(found.bias, bias, atol=1e-6)


@pytest.mark.parametrize("l2", [1e-1, 1e-3])
def test_linear_weights(arrays, tables, l2):
    x, y = arrays[:2]
    train, _ = check_samples(*tables)
    found = LinearProbe(l2=l2).fit_samples(_Passes(train), 3)
    expected = LinearProbe(l2=l2).fit(x, y)
    assert found.iterations == pytest.approx(expected.iterations, abs=2)
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-4)
    np.testing.assert_allclose(found.bias, expected.bias, atol=1e-4)


def test_gradient_of_the_linear_probe(arrays, tables):
    """Away from the solution, in the axes of each."""
    x, y = arrays[:2]
    train, _ = check_samples(*tables)
    found, expected = _Passes(train).problem(), ArraySamples(x, y).problem()
    np.testing.assert_allclose(found.curvature, expected.curvature, atol=1e-5)
    weights = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    bias = np.float32([0.1, -0.3, 0.2])

    def in_features(problem):
        turned = problem.axes.T @ weights
        loss, dw, db = problem.loss(turned, bias, 0.3)
        return loss, problem.axes @ dw, db

    for a, b in zip(in_features(found), in_features(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.fixture
def large_blocks(monkeypatch):
    """Of 150 samples, for what takes hundreds of passes."""
    monkeypatch.setattr(samples, "_BLOCK_ELEMENTS", 150 * 8)


@pytest.mark.usefixtures("large_blocks")
@pytest.mark.parametrize(
    "name, seed", [("ridge", 0), ("ridge", 3), ("linear", 3)]
)
def test_accuracies_and_choices(arrays, tables, name, seed):
    streamed, in_memory = PAIRS[name]
    found = streamed(*tables, seed=seed)
    expected = in_memory(*arrays, seed=seed)
    assert set(found) == set(expected)
    for key in ("accuracy", "l2", "held_out_accuracy"):
        assert found[key] == expected[key]
    assert 0.5 < found["accuracy"] < 1
    one = streamed(*tables, l2=0.01)
    assert one["accuracy"] == in_memory(*arrays, l2=0.01)["accuracy"]
    assert "held_out_accuracy" not in one


def test_held_out_rows_are_those_in_memory(arrays, tables):
    x, y = arrays[:2]
    train, _ = check_samples(*tables)
    for part, rows in zip(
        train.split(0.1, 5), hold_out(400, 0.1, 5), strict=True
    ):
        assert len(part) == len(rows)
        found_x, found_y = map(np.concatenate, zip(*part.blocks(), strict=True))
        np.testing.assert_array_equal(found_x, x[rows])
        np.testing.assert_array_equal(found_y, y[rows])


def test_knn(arrays, tables):
    ks = (1, 7, 20)
    assert stream_knn(*tables, k=ks) == knn_accuracy(*arrays, k=ks)
    one = stream_knn(*tables, k=7, temperature=0.5)
    assert one == knn_accuracy(*arrays, k=7, temperature=0.5)
    assert stream_knn(*tables, k=400) == knn_accuracy(*arrays, k=400)


def test_equal_neighbours_of_several_blocks(tmp_path):
    """Of equals the first row votes, in whatever block it is."""
    x = np.ones((200, 8), "float32")
    y = np.repeat([2, 1, 0], (40, 80, 80))
    write_part(tmp_path / "a.parquet", x, y)
    write_part(tmp_path / "b.parquet", x[:30], np.full(30, 2))
    train, test = tmp_path / "a.parquet", tmp_path / "b.parquet"
    for k in (1, 40, 79):
        assert stream_knn(train, test, k=k) == 1.0
        assert knn_accuracy(x, y, x[:30], np.full(30, 2), k=k) == 1.0
    assert stream_knn(train, test, k=81) == 0.0  # 40 of 2, 41 of 1


def test_parts_do_not_change_the_result(arrays, tables, tmp_path):
    """Not one bit: blocks do not end where files do."""
    x, y = arrays[:2]
    write_part(tmp_path / "one.parquet", x, y)
    one = tmp_path / "one.parquet"
    found = stream_linear(one, tables[1], l2=0.01)
    assert found == stream_linear(*tables, l2=0.01)
    assert stream_ridge(one, tables[1]) == stream_ridge(*tables)


@pytest.mark.usefixtures("large_blocks")
def test_evaluate_vectors(arrays, tables, monkeypatch):
    """As `evaluate_features`, and the tables are checked once for all."""
    looks = []
    monkeypatch.setattr(
        samples,
        "check_features",
        lambda name, x: looks.append(len(x)),
    )
    settings = {
        "protocols": ["knn", "linear", "ridge"],
        "k": (5, 20),
        "seed": 1,
        "seeds": 2,
    }
    found = evaluate_vectors(Vectors(tables[0]), tables[1], **settings)
    assert sum(looks) == 400 + 150
    expected = evaluate_features(arrays[:2], arrays[2:], **settings)
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-6), key


class TestRefused:
    """One line, before anything is fitted."""

    @pytest.fixture
    def folder(self, arrays, tmp_path):
        """`train.parquet` and `test.parquet`, to be replaced."""
        for name, rows in (("train", slice(400)), ("test", slice(60))):
            path = tmp_path / f"{name}.parquet"
            write_part(path, arrays[0][rows], arrays[1][rows])
        return tmp_path

    @pytest.fixture(params=PAIRS)
    def refused(self, request, folder):
        """Expects an error of each protocol."""
        streamed = PAIRS[request.param][0]
        options = {"k": 20} if request.param == "knn" else {}

        def check(message, error=ValueError, **changes):
            with pytest.raises(error, match=message) as caught:
                streamed(
                    folder / "train.parquet",
                    folder / "test.parquet",
                    **{**options, **changes},
                )
            assert "\n" not in str(caught.value)

        return check

    @pytest.mark.parametrize("name", ["train", "test"])
    def test_unknown_labels(self, arrays, folder, refused, name):
        x, y = arrays[0][:60], arrays[1][:60].copy()
        y[50] = -1
        write_part(folder / f"{name}.parquet", x, y)
        refused(f"labels of {name} must be .*1 unlabelled")
        write_part(folder / f"{name}.parquet", x, None)
        refused(rf"{name} must be labelled .*{name}\.parquet.*no column")

    @pytest.mark.parametrize("name", ["train", "test"])
    def test_vectors_that_are_not_finite(self, arrays, folder, refused, name):
        x = arrays[0][:60].copy()
        x[55, 3] = np.nan
        write_part(folder / f"{name}.parquet", x, arrays[1][:60])
        refused(f"vectors of {name} must be finite")

    def test_other_dimension_output_and_model(self, arrays, folder, refused):
        path, labels = folder / "test.parquet", arrays[1][:60]
        write_part(path, arrays[0][:60, :5], labels)
        refused(r"test must be vectors of dimension 8, .*received 5 in .*test")
        for metadata in (
            {"savedmodel": "a", "output": "embedding"},
            {"savedmodel": "b", "output": "features"},
        ):
            write_part(path, arrays[0][:60], labels, metadata=metadata)
            refused("test must be of the (output|savedmodel) of train, '")

    def test_one_class(self, arrays, folder, refused):
        path = folder / "train.parquet"
        write_part(path, arrays[0], np.ones(400, int))
        refused("labels of train must hold .* only class 1 in 400")
        write_part(path, arrays[0], np.repeat([0, 10**9], 200))
        refused("labels of train.*1000000000")

    def test_missing_tables(self, folder, refused):
        (folder / "train.parquet").unlink()
        refused("train: vectors must be", FileNotFoundError)

    def test_settings(self, folder):
        pair = folder / "train.parquet", folder / "test.parquet"
        with pytest.raises(ValueError, match=r"between 1 and the 400 .* 401"):
            stream_knn(*pair, k=401)
        with pytest.raises(ValueError, match="temperature must be positive"):
            stream_knn(*pair, temperature=0)
        for streamed in (stream_ridge, stream_linear):
            with pytest.raises(ValueError, match="l2 must be a positive"):
                streamed(*pair, l2=0.0)
            with pytest.raises(ValueError, match=r"in \(0, 1\); received 1"):
                streamed(*pair, held_out=1)
            with pytest.raises(ValueError, match=r"leave samples .*400"):
                streamed(*pair, held_out=1e-4)
        with pytest.raises(ValueError, match="out of knn, linear, ridge; rec"):
            evaluate_vectors(*pair, protocols=["retrieval"])
        with pytest.raises(ValueError, match=r"between 1 and the 400 .* 500"):
            evaluate_vectors(*pair, k=500)


def test_a_test_class_that_training_lacks(arrays, tables, tmp_path):
    """Counts as an error, as in memory."""
    x, y, test_x, test_y = arrays
    test_y = np.where(np.arange(len(test_y)) < 20, 7, test_y)
    write_part(tmp_path / "test.parquet", test_x, test_y)
    pair = tables[0], tmp_path / "test.parquet"
    assert stream_knn(*pair, k=20) == knn_accuracy(x, y, test_x, test_y, k=20)
    for streamed, in_memory in (PAIRS["ridge"], PAIRS["linear"]):
        found = streamed(*pair, l2=0.01)["accuracy"]
        assert found == in_memory(x, y, test_x, test_y, l2=0.01)["accuracy"]


def test_samples_are_blocks_of_a_bounded_size(tables):
    train = Samples(Vectors(tables[0]), 3)
    assert {len(x) for x, _ in train.blocks()} == {37, 400 % 37}
    wide = Samples(Vectors(tables[0]), 37)
    assert max(len(x) for x, _ in wide.blocks()) == 8
