"""Linear probe by gradient descent, on an exported encoder."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from minc_tf.data import ArraySource
from minc_tf.evaluation import extract, linear_sgd, load_savedmodel
from minc_tf.evaluation.protocols.heads import LinearHeads
from minc_tf.evaluation.protocols.labelled_images import labelled_batches
from minc_tf.evaluation.protocols.subsets import hold_out

from .shapes_encoder import Logged, export_encoder, pictures
from .slow_training import SlowHead


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export_encoder(tmp_path_factory.mktemp("linear_sgd"))


@pytest.fixture(scope="module")
def splits():
    classes = ("disk", "bars")
    return pictures("train", 600, classes), pictures("test", 500, classes)


def small(splits):
    return splits[0].subset(60), splits[1].subset(50)


def test_accuracy_of_logistic_regression(exported, splits):
    x, test_x = (extract(exported, s.examples(300))[0] for s in splits)
    mean, std = x.mean(0), x.std(0)
    model = LogisticRegression(C=1e6, max_iter=5000)
    model.fit((x - mean) / std, splits[0].labels)
    expected = model.score((test_x - mean) / std, splits[1].labels)
    found = linear_sgd(
        exported,
        *splits,
        augment=False,
        epochs=60,
        batch_size=100,
        learning_rates=(0.3, 1.0),
    )
    assert 0.6 < expected < 0.8
    assert found["accuracy"] == pytest.approx(expected, abs=0.005)
    assert found["learning_rate"] in (0.3, 1.0)
    assert set(found) == {"accuracy", "learning_rate", "held_out_accuracy"}
    assert all(type(value) is float for value in found.values())
    json.dumps(found)


def test_slow_training_on_augmented_images(exported, splits):
    train, test = splits[0].subset(100), splits[1]
    setting = {"epochs": 5, "seed": 3}
    found = linear_sgd(
        exported, train, test, batch_size=20, learning_rates=0.4, **setting
    )
    x, test_x = (extract(exported, s.examples(500))[0] for s in (train, test))
    mean, std = x.mean(0), x.std(0)
    head = SlowHead(LinearHeads([1], 12, 2, seed=3).weights[0], 0.4, "sgd")
    encode = load_savedmodel(exported).signature("features")
    batches = labelled_batches(
        train, np.arange(100), 20, augment=True, **setting
    )
    for step, (images, labels) in enumerate(batches):
        factor = 20 / 256 * (1 + np.cos(np.pi * step / 25)) / 2
        views = (encode(images).numpy() - mean) / std
        head.train(views, labels.numpy(), factor)
    assert step == 24
    expected = head.accuracy((test_x - mean) / std, test.labels)
    assert found["accuracy"] == pytest.approx(expected, abs=0.003)


def test_seeds(exported, splits):
    def probe(seed):
        return linear_sgd(
            exported,
            *splits,
            augment=False,
            epochs=1,
            batch_size=50,
            learning_rates=(0.1, 0.5),
            seed=seed,
        )

    first = probe(0)
    assert first == probe(0)
    assert first != probe(1)


def test_which_images_are_read(exported, splits):
    log = []
    train, test = (Logged(s, log) for s in small(splits))
    linear_sgd(exported, train, test, epochs=1, batch_size=20, seed=5)
    # All once without augmentation; two batches, without what is held out, to
    # choose; three batches; and at last the test images, once.
    names, indices = zip(*log, strict=True)
    assert names == ("train",) * 160 + ("test",) * 50
    assert indices[:60] == tuple(range(60))
    kept, held = hold_out(60, 0.1, 5)
    assert set(indices[60:100]) <= set(kept)
    assert len(held) == 6
    assert set(indices[100:160]) == set(range(60))
    assert indices[160:] == tuple(range(50))


def test_features_that_are_known(exported, splits):
    log = []
    train, test = (Logged(s, log) for s in small(splits))
    known = [extract(exported, s.examples(20))[0] for s in (train, test)]
    log.clear()
    given = {"augment": False, "epochs": 2, "batch_size": 20}
    found = linear_sgd(exported, train, test, features=known, **given)
    assert not log
    assert found == linear_sgd(exported, train, test, **given)
    x, test_x = known
    for wrong, message in (
        ((test_x, x), r"features\[0\] must be of 60 samples.*\(50, 12\)"),
        ((x, test_x[:, 1:]), r"features\[1\] must have the 12 features"),
    ):
        with pytest.raises(ValueError, match=message):
            linear_sgd(exported, train, test, features=wrong, **given)


def test_test_labels_choose_nothing(exported, splits):
    train, test = small(splits)
    other = ArraySource(test.images, 1 - test.labels)
    first, second = (
        linear_sgd(exported, train, t, augment=False, epochs=3)
        for t in (test, other)
    )
    assert first["accuracy"] != second["accuracy"]
    del first["accuracy"], second["accuracy"]
    assert first == second


def test_one_rate_holds_nothing_out(exported, splits):
    found = linear_sgd(
        exported, *small(splits), augment=False, epochs=2, learning_rates=0.3
    )
    assert set(found) == {"accuracy", "learning_rate"}
    assert found["learning_rate"] == 0.3


def test_lars(exported, splits):
    def probe(rate):
        return linear_sgd(
            exported,
            *splits,
            optimizer="lars",
            augment=False,
            epochs=60,
            batch_size=50,
            learning_rates=rate,
        )["accuracy"]

    # Its ratio makes tiny steps: 0.1, plenty for SGD, leaves the start.
    assert probe(3.0) > 0.58 > probe(0.1)


def test_constant_coordinate_of_an_ordered_embedding(
    exported, splits, monkeypatch
):
    made = []

    class Recorded(LinearHeads):
        def __init__(self, rates, features, classes, **kwargs):
            made.append((features, classes))
            super().__init__(rates, features, classes, **kwargs)

    monkeypatch.setitem(linear_sgd.__globals__, "LinearHeads", Recorded)
    kwargs = {"augment": False, "epochs": 1, "learning_rates": 0.1}
    for output in ("embedding", "features"):
        linear_sgd(exported, *small(splits), output=output, **kwargs)
    assert made == [(2, 2), (12, 2)]


def test_diverged(exported, splits):
    rates = (3e38, 3.1e38)
    with pytest.raises(FloatingPointError, match="diverged for all of learn"):
        linear_sgd(
            exported,
            *small(splits),
            augment=False,
            epochs=20,
            batch_size=60,
            learning_rates=rates,
        )


def test_data_that_do_not_fit(exported, splits, tmp_path):
    train, test = small(splits)

    def relabelled(labels):
        return ArraySource(train.images, labels)

    with pytest.raises(ValueError, match=r"labels of train .*60 unlabelled"):
        linear_sgd(exported, relabelled(None), test)
    with pytest.raises(ValueError, match=r"labels of test .*60 unlabelled"):
        linear_sgd(exported, train, relabelled(None))
    with pytest.raises(ValueError, match="two classes; received only class 0"):
        linear_sgd(exported, relabelled(np.zeros(60, int)), test)
    larger = ArraySource(np.zeros((9, 40, 32, 3), "uint8"), np.arange(9) % 2)
    with pytest.raises(ValueError, match=r"test must .*\(32, 32, 3\).*\(40, 3"):
        linear_sgd(exported, train, larger)
    with pytest.raises(TypeError, match=r"train must be .*ImageSource.*tuple"):
        linear_sgd(exported, (train.images, train.labels), test)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        linear_sgd(tmp_path / "missing", train, test)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"output": "logits"}, "output must be one of .* received 'logits'"),
        ({"optimizer": "adam"}, "optimizer must be one of .*'adam'"),
        ({"learning_rates": ()}, "learning_rates must be"),
        ({"epochs": 0}, "epochs must be an int >= 1; received 0"),
        ({"batch_size": 2.5}, "batch_size must be an int >= 1; received 2.5"),
        ({"held_out": 1.0}, "held_out must be"),
        ({"seed": -1}, "seed must be an int >= 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_arguments(exported, splits, kwargs, message):
    with pytest.raises(ValueError, match=message):
        linear_sgd(exported, *small(splits), **kwargs)
