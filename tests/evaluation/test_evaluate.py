"""Protocols on an exported SavedModel."""

import functools
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from minc_tf import data
from minc_tf.evaluation import (
    LinearProbe,
    evaluate_dims,
    evaluate_savedmodel,
    extract,
    finetune,
    knn_accuracy,
    linear_accuracy,
    linear_sgd,
    load_savedmodel,
    pca,
    retrieval_metrics,
    ridge_accuracy,
    summarise,
)
from minc_tf.evaluation.protocols import savedmodel, transfer
from minc_tf.evaluation.records import (
    format_results,
    make_record,
    merge_record,
    read_records,
)
from minc_tf.export import export_savedmodel

from .conftest import make_batches, make_model
from .shapes_encoder import Logged, export_encoder, pictures


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """An export that no test changes."""
    return export_savedmodel(make_model(), tmp_path_factory.mktemp("models"))


def splits():
    return make_batches(90), make_batches(40, seed=1)


def source(n, seed=0, classes=3, labels=None):
    """The images of `make_batches` as a data set."""
    (batch,) = make_batches(n, classes, seed, batch_size=n)
    given = batch["label"].numpy() if labels is None else labels
    return data.ArraySource(
        batch["image"].numpy(), given, name="brightness", split=f"{n}"
    )


def test_all_protocols(shared):
    train, test = splits()
    found = evaluate_savedmodel(
        shared,
        train,
        test,
        protocols=("knn", "linear", "ridge", "retrieval"),
        k=(5, 20),
        temperature=0.1,
        recall_at=(1, 4),
        seed=2,
    )
    (x, y), (test_x, test_y) = extract(shared, train), extract(shared, test)
    every = (x, y, test_x, test_y)
    knn = knn_accuracy(*every, k=(5, 20), temperature=0.1)
    linear = linear_accuracy(*every, seed=2)
    ridge = ridge_accuracy(*every, seed=2)
    retrieval = retrieval_metrics(
        test_x, test_y, (1, 4), gallery=x, gallery_labels=y
    )
    assert found == {
        "knn_accuracy_k5": knn[5],
        "knn_accuracy_k20": knn[20],
        "linear_accuracy": linear["accuracy"],
        "linear_l2": linear["l2"],
        "linear_held_out_accuracy": linear["held_out_accuracy"],
        "ridge_accuracy": ridge["accuracy"],
        "ridge_l2": ridge["l2"],
        "ridge_held_out_accuracy": ridge["held_out_accuracy"],
        "retrieval_recall_at_1": retrieval["recall_at_1"],
        "retrieval_recall_at_4": retrieval["recall_at_4"],
        "retrieval_map": retrieval["map"],
    }
    assert all(type(value) is float for value in found.values())
    assert found["linear_accuracy"] > 0.9
    json.dumps(found)


def test_sources_are_batches(shared):
    settings = {"protocols": ["knn", "ridge"], "k": 5}
    found = evaluate_savedmodel(
        load_savedmodel(shared), source(90), source(40, 1), **settings
    )
    assert found == evaluate_savedmodel(shared, *splits(), **settings)


def test_seeds_draw_the_held_out_part(shared):
    train, test = splits()
    found = evaluate_savedmodel(
        shared, train, test, protocols=["ridge"], seed=3, seeds=3
    )
    every = (*extract(shared, train), *extract(shared, test))
    runs = [ridge_accuracy(*every, seed=seed) for seed in (3, 4, 5)]
    mean, half = summarise([run["accuracy"] for run in runs])
    assert found == {
        "ridge_accuracy": mean,
        "ridge_accuracy_ci95": half,
        "ridge_l2": [run["l2"] for run in runs],
        "ridge_held_out_accuracy": [run["held_out_accuracy"] for run in runs],
    }
    record = make_record("a/1", "features", {"seeds": 3}, found)
    assert list(record["results"]) == ["ridge_accuracy", "ridge_accuracy_ci95"]
    assert record["results"] | record["choices"] == found


def test_interval_is_that_of_student():
    values = [0.61, 0.64, 0.60, 0.66]
    mean, half = summarise(values)
    low, high = stats.t.interval(
        0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values)
    )
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert summarise([0.5]) == (0.5, None)


def test_protocols_that_train_on_images(shared, monkeypatch):
    """Each gets its arguments, once a seed."""
    calls = []

    def train_on(name):
        def protocol(path, train, test, **arguments):
            calls.append((name, path, train, test, arguments))
            return {"accuracy": arguments["seed"] / 10, "learning_rate": 0.1}

        return protocol

    for name in ("linear_sgd", "finetune"):
        monkeypatch.setattr(savedmodel, name, train_on(name))
    splits = source(60), source(30, 1)
    encoder = load_savedmodel(shared)
    found = evaluate_savedmodel(
        encoder,
        *splits,
        protocols=["finetune", "linear", "semi"],
        solver="lars",
        output="embedding",
        fractions=(0.01, 0.5),
        fitting={"epochs": 2},
        seed=1,
        seeds=2,
    )
    names = ["finetune", "linear_lars", "semi_0.01", "semi_0.5"]
    mean, half = summarise([0.1, 0.2])
    expected = {"accuracy": mean, "accuracy_ci95": half}
    expected["learning_rate"] = [0.1, 0.1]
    assert found == {
        f"{name}_{key}": value
        for name in names
        for key, value in expected.items()
    }
    encode = encoder.encoder_function("embedding")
    for call in calls[2:4]:
        x, test_x = call[-1].pop("features")
        np.testing.assert_array_equal(x, encode(splits[0].images))
        np.testing.assert_array_equal(test_x, encode(splits[1].images))
    lars = {"output": "embedding", "optimizer": "lars"}
    assert calls == [
        (
            protocol,
            encoder,
            *splits,
            {**own, "epochs": 2, "verbose": 0, "seed": seed},
        )
        for protocol, own in (
            ("finetune", {}),
            ("linear_sgd", lars),
            ("finetune", {"fraction": 0.01}),
            ("finetune", {"fraction": 0.5}),
        )
        for seed in (1, 2)
    ]


def test_each_thing_is_done_once(tmp_path, monkeypatch):
    """One load; one pass of each split without augmentation, for two seeds."""
    log, loads = [], []
    exported = export_encoder(tmp_path / "models")
    load = tf.saved_model.load
    monkeypatch.setattr(
        tf.saved_model, "load", lambda path: loads.append(path) or load(path)
    )
    splits = [
        Logged(pictures(name, count, ("disk", "ring")), log)
        for name, count in (("train", 40), ("test", 20))
    ]
    given = {
        "protocols": ["knn", "ridge", "linear", "semi", "finetune"],
        "k": 5,
        "solver": "sgd",
        "fractions": [0.5],
        "seeds": 2,
        "fitting": {"epochs": 2, "learning_rates": 0.1, "batch_size": 20},
    }
    encoder = load_savedmodel(exported)
    before = encoder.signature("features")(splits[1].images)
    found = evaluate_savedmodel(encoder, *splits, **given)
    assert loads == [exported]
    train, test = map(len, splits)
    reads = [[name for name, _ in log].count(n) for n in ("train", "test")]
    # Then a seed takes four batches for the probe, two for half of the labels
    # and four for all, and the test split for each of two encoders.
    assert reads == [train + 2 * 20 * (4 + 2 + 4), test * (1 + 2 * 2)]
    # The encoder is what it was, and the numbers are those of single calls.
    after = encoder.signature("features")(splits[1].images)
    np.testing.assert_array_equal(after, before)
    alone = linear_sgd(exported, *splits, seed=1, **given["fitting"])
    tuned = finetune(exported, *splits, seed=0, **given["fitting"])
    other = finetune(exported, *splits, seed=1, **given["fitting"])
    assert found["linear_sgd_learning_rate"][1] == alone["learning_rate"]
    mean = (tuned["accuracy"] + other["accuracy"]) / 2
    assert found["finetune_accuracy"] == pytest.approx(mean)


def test_transfer(shared, monkeypatch):
    strong = functools.partial(LinearProbe, l2=(1.0, 0.1))
    monkeypatch.setattr(transfer, "LinearProbe", strong)
    others = source(50, 2, classes=4), source(30, 3, classes=4)
    found = evaluate_savedmodel(
        shared, protocols=["transfer"], transfer=others, k=7, seed=1
    )
    train, test = (extract(shared, split.examples(16)) for split in others)
    alone = linear_accuracy(*train, *test, l2=(1.0, 0.1), seed=1)
    assert found["transfer_linear_accuracy"] == alone["accuracy"]
    assert found["transfer_linear_l2"] == alone["l2"]
    assert found["transfer_knn_accuracy_k7"] == knn_accuracy(*train, *test, k=7)
    assert 0.5 < found["transfer_linear_class_accuracy"] <= 1


@pytest.fixture
def set_ordered(exported):
    """Sets what the manifest says of the order of the embedding."""
    manifest = os.path.join(exported, "assets.extra", "manifest.json")

    def write(ordered):
        with open(manifest) as file:
            content = json.load(file)
        content["embedding_ordered"] = ordered
        with open(manifest, "w") as file:
            json.dump(content, file)

    return write


@pytest.mark.parametrize("ordered", [True, False])
def test_constant_coordinate_of_an_ordered_embedding(
    exported, set_ordered, ordered
):
    set_ordered(ordered)
    train, test = splits()
    found = evaluate_savedmodel(
        exported, train, test, protocols=["knn"], output="embedding", k=5
    )
    first = 1 if ordered else 0
    x, y = extract(exported, train, "embedding")
    test_x, test_y = extract(exported, test, "embedding")
    expected = knn_accuracy(x[:, first:], y, test_x[:, first:], test_y, k=5)
    assert found == {"knn_accuracy_k5": expected}
    assert np.isfinite(expected)


def test_dims_of_an_ordered_embedding(shared):
    train, test = splits()
    settings = {"protocols": ["ridge", "retrieval"], "recall_at": 2}
    found = evaluate_savedmodel(
        shared, train, test, output="embedding", dims=(2, 4), **settings
    )
    x, y = extract(shared, train, "embedding")
    test_x, test_y = extract(shared, test, "embedding")
    every = (x[:, 1:], y), (test_x[:, 1:], test_y)
    curves = found.pop("dims")
    assert curves == {
        "embedding": evaluate_dims(*every, (2, 4), **settings),
        "pca": evaluate_dims(
            *every, (2, 4), ordering=pca(x[:, 1:]), **settings
        ),
    }
    # All four coordinates are the embedding.
    assert curves["embedding"][1] == {"dim": 4, **found}
    with pytest.raises(ValueError, match="dims must be at most 4, the number"):
        evaluate_savedmodel(
            shared, train, test, output="embedding", dims=(5,), **settings
        )


def test_dims_by_pairs(shared):
    train, test = splits()
    images = [batch["image"] for batch in train]
    # Same images, so that every direction agrees: the order is that of noise,
    # but all directions together are the features.
    pairs = [(image, tf.reverse(image, [2])) for image in images]
    found = evaluate_savedmodel(
        shared, train, test, protocols=["knn"], k=5, dims=(1, 8), pairs=pairs
    )
    assert list(found["dims"]) == ["pairs", "pca"]
    assert found["dims"]["pairs"][1]["knn_accuracy_k5"] > 0.8


@pytest.mark.parametrize("protocols", [("knn", "svm"), (), "knn"])
def test_unknown_protocols(shared, protocols):
    with pytest.raises(
        ValueError, match=r"out of knn, linear, ridge, .*transfer; received"
    ):
        evaluate_savedmodel(shared, *splits(), protocols=protocols)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"output": "nothing"}, ValueError, "output must be one of embedding"),
        ({"solver": "adam"}, ValueError, "solver must be one of 'lbfgs'"),
        ({"k": 91}, ValueError, "the 90 training samples; received 91"),
        ({"seeds": 0}, ValueError, "seeds must be 1 or more; received 0"),
        ({"seed": 0.5}, TypeError, r"seed must be an int; received 0\.5"),
        ({"train": None}, TypeError, "train must be a minc_tf.*NoneType"),
        (
            {"test": source(9, labels=np.full(9, -1))},
            ValueError,
            "labels of test .*9 unlabelled",
        ),
        (
            {"train": source(90, labels=np.full(90, 2))},
            ValueError,
            "labels of train must hold at least two classes.*class 2",
        ),
        ({"protocols": ["transfer"]}, TypeError, "transfer train .*NoneType"),
        (
            {"protocols": ["semi"], "train": make_batches()},
            TypeError,
            "train must be a minc_tf.data.ImageSource",
        ),
        ({"fitting": {"epochs": 3}}, ValueError, "fitting .*none of them"),
        (
            {"protocols": ["finetune"], "fitting": {"epoch": 3}},
            ValueError,
            "fitting must hold epochs, .*epoch",
        ),
        ({"dims": (4, 2)}, ValueError, "dims must be positive and ascend"),
        ({"dims": (2,)}, ValueError, "pairs must be batches of"),
        (
            {"dims": (2,), "order": "embedding"},
            ValueError,
            "order='embedding' needs output='embedding'",
        ),
        (
            {"dims": (2,), "protocols": ["finetune"]},
            ValueError,
            "dims must come with a protocol on cached features",
        ),
        (
            {"dims": (9,), "order": "pca"},
            ValueError,
            "dims must be at most 8, .*received 9",
        ),
    ],
)
def test_wrong_arguments(shared, change, error, match):
    arguments = {"train": source(90), "test": source(40, 1), "k": 5, **change}
    with pytest.raises(error, match=match):
        evaluate_savedmodel(shared, **arguments)


def test_errors_of_the_parts_reach_the_user(shared):
    train, test = splits()
    with pytest.raises(ValueError, match=r"the 90 training samples.*200"):
        evaluate_savedmodel(shared, train, test)
    unlabelled = train.map(lambda b: {**b, "label": b["label"] * 0 - 1})
    with pytest.raises(ValueError, match=r"train_labels .*90 unlabelled"):
        evaluate_savedmodel(shared, unlabelled, test, k=5)


def test_foreign_savedmodel(tmp_path):
    """With signatures of other names, and without a manifest."""

    class Foreign(tf.Module):
        @tf.function(
            input_signature=[tf.TensorSpec((None, 4, 4, 3), tf.float32, "x")]
        )
        def pooled(self, x):
            return {"vector": tf.reshape(x - 127.5, (-1, 48))}

    module, path = Foreign(), str(tmp_path / "foreign")
    tf.saved_model.save(module, path, {"pooled": module.pooled})
    settings = {"protocols": ["knn"], "k": 5}
    found = evaluate_savedmodel(path, *splits(), output="pooled", **settings)
    assert found["knn_accuracy_k5"] > 0.8
    with pytest.raises(ValueError, match="output must be one of pooled, the"):
        evaluate_savedmodel(path, *splits(), **settings)


def test_table():
    results = {
        "knn_accuracy_k5": 0.5,
        "linear_accuracy": 0.625,
        "linear_accuracy_ci95": 0.0125,
        "linear_l2": [0.1, 0.001],
        "dims": {"pca": [{"dim": 8, "retrieval_map": 0.25}]},
    }
    assert format_results(results).splitlines() == [
        "knn_accuracy_k5: 0.5      50.00 %",
        "linear_accuracy: 0.625    62.50 % +- 1.25",
        "      linear_l2: 0.1, 0.001",
        "",
        "first coordinates in the order 'pca', in %:",
        "  dim  retrieval_map",
        "    8          25.00",
    ]


def test_records_replace_their_own_kind(tmp_path):
    path = tmp_path / "evaluation.json"
    assert read_records(path) == []
    entry = {"savedmodel": "a", "output": "features", "settings": {"k": (5,)}}
    merge_record(path, {**entry, "results": {"x": 1.0}})
    merge_record(path, {**entry, "output": "embedding", "results": {}})
    merge_record(path, {**entry, "results": {"x": 2.0}})
    found = read_records(path)
    assert [one["output"] for one in found] == ["embedding", "features"]
    assert found[1]["results"] == {"x": 2.0}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    for text, match in (("{", "is not JSON"), ("{}", "must hold a list")):
        path.write_text(text)
        with pytest.raises(ValueError, match=match):
            merge_record(path, entry)
        assert path.read_text() == text
