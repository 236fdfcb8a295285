"""Protocols on an exported SavedModel."""

import json
import os

import numpy as np
import pytest

from minc_tf.evaluation import (
    evaluate_savedmodel,
    extract,
    knn_accuracy,
    linear_accuracy,
    ridge_accuracy,
)

from .conftest import make_batches


def splits():
    return make_batches(90), make_batches(40, seed=1)


def test_all_protocols(exported):
    train, test = splits()
    found = evaluate_savedmodel(
        exported,
        train,
        test,
        protocols=("knn", "linear", "ridge"),
        k=(5, 20),
        temperature=0.1,
        seed=2,
    )
    data = (*extract(exported, train), *extract(exported, test))
    knn = knn_accuracy(*data, k=(5, 20), temperature=0.1)
    linear = linear_accuracy(*data, seed=2)
    ridge = ridge_accuracy(*data, seed=2)
    assert found == {
        "knn_accuracy_k5": knn[5],
        "knn_accuracy_k20": knn[20],
        "linear_accuracy": linear["accuracy"],
        "linear_l2": linear["l2"],
        "linear_held_out_accuracy": linear["held_out_accuracy"],
        "ridge_accuracy": ridge["accuracy"],
        "ridge_l2": ridge["l2"],
        "ridge_held_out_accuracy": ridge["held_out_accuracy"],
    }
    assert all(type(value) is float for value in found.values())
    assert found["linear_accuracy"] > 0.9
    json.dumps(found)


@pytest.mark.parametrize("ordered", [True, False])
def test_constant_coordinate_of_an_ordered_embedding(exported, ordered):
    manifest = os.path.join(exported, "assets.extra", "manifest.json")
    with open(manifest) as file:
        content = json.load(file)
    content["embedding_ordered"] = ordered
    with open(manifest, "w") as file:
        json.dump(content, file)
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


@pytest.mark.parametrize("protocols", [("knn", "svm"), (), "knn"])
def test_unknown_protocols(exported, protocols):
    with pytest.raises(ValueError, match="out of knn, linear, ridge, received"):
        evaluate_savedmodel(exported, *splits(), protocols=protocols)


def test_errors_of_the_parts_reach_the_user(exported):
    train, test = splits()
    with pytest.raises(ValueError, match=r"the 90 training samples.*200"):
        evaluate_savedmodel(exported, train, test)
    with pytest.raises(ValueError, match="output must be one of"):
        evaluate_savedmodel(exported, train, test, output="nothing")
    unlabelled = train.map(lambda b: {**b, "label": b["label"] * 0 - 1})
    with pytest.raises(ValueError, match=r"train_labels .*90 unlabelled"):
        evaluate_savedmodel(exported, unlabelled, test, k=5)
