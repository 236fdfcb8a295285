"""Fine-tuning of an exported encoder."""

import hashlib
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from minc_tf.data import ArraySource
from minc_tf.evaluation import (
    evaluate_savedmodel,
    finetune,
    linear_sgd,
    load_savedmodel,
)
from minc_tf.evaluation.protocols.finetuning import _Tuner, fitting_batch

from .shapes_encoder import (
    SIZE,
    Logged,
    export_encoder,
    make_encoder,
    pictures,
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export_encoder(tmp_path_factory.mktemp("finetune"))


@pytest.fixture(scope="module")
def splits():
    classes = ("disk", "ring", "bars", "cross")
    return pictures("train", 600, classes), pictures("test", 300, classes)


def small(splits):
    return splits[0].subset(60), splits[1].subset(50)


def hashes(path):
    files = sorted(p for p in pathlib.Path(path).rglob("*") if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_better_than_a_frozen_encoder(exported, splits):
    before = hashes(exported)
    assert before
    frozen = linear_sgd(exported, *splits, augment=False)
    found = finetune(
        exported,
        *splits,
        epochs=6,
        batch_size=32,
        learning_rates=(0.2, 0.8),
        augment=False,
    )
    assert found["accuracy"] > frozen["accuracy"] + 0.15
    assert found["images"] == 600
    assert set(found) == {
        "accuracy",
        "learning_rate",
        "held_out_accuracy",
        "images",
    }
    assert all(type(value) is float for value in found.values())
    json.dumps(found)
    assert hashes(exported) == before


def test_every_run_starts_from_the_exported_weights(exported, splits):
    def tune(rates):
        return finetune(
            exported,
            *splits,
            fraction=0.5,
            epochs=3,
            batch_size=32,
            learning_rates=rates,
            augment=False,
        )

    chosen = tune((0.001, 0.8))
    alone = tune(0.8)
    assert chosen["learning_rate"] == alone["learning_rate"] == 0.8
    assert chosen["accuracy"] == alone["accuracy"]
    assert "held_out_accuracy" not in alone


def test_steps_equal_those_of_keras(exported):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (4, 16, *SIZE)).astype("float32")
    y = rng.integers(0, 4, (4, 16))
    loaded = load_savedmodel(exported).trainable()
    tuner = _Tuner(loaded, SIZE, (12, 4), seed=0)
    head = keras.layers.Dense(4)
    model = keras.Sequential([make_encoder(), head])
    head.set_weights([tuner._weights.numpy(), tuner._bias.numpy()])
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    losses = []
    for images, labels in zip(x, y, strict=True):
        with tf.GradientTape() as tape:
            loss = keras.losses.sparse_categorical_crossentropy(
                labels, model(images, training=True), from_logits=True
            )
            loss = tf.reduce_mean(loss)
        weights = model.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in weights])
        optimizer.apply(gradients, weights)
        losses.append(float(loss))
    found = [tuner.train(*batch, 0.1) for batch in zip(x, y, strict=True)]
    np.testing.assert_allclose(found, losses, rtol=1e-4)
    expected = model(x[0], training=False)
    logits = loaded(x[0], training=False) @ tuner._weights + tuner._bias
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)
    tuner.restart()
    assert tuner.train(x[0], y[0], 0.1) == found[0]


def test_augmented_is_reproducible_and_learns(exported, splits):
    def tune():
        return finetune(
            exported,
            *splits,
            fraction=0.4,
            epochs=6,
            batch_size=20,
            learning_rates=0.8,
        )

    first = tune()
    assert first["images"] == 240
    assert first["accuracy"] > 0.5  # of four classes
    assert first == tune()


def test_which_images_are_read(exported, splits):
    log = []
    train, test = (Logged(s, log) for s in splits)
    found = finetune(
        exported,
        train,
        test,
        fraction=0.04,
        epochs=2,
        learning_rates=(0.1, 0.2),
        augment=False,
    )
    assert found["images"] == 24
    names, indices = zip(*log, strict=True)
    # Twice two batches of 16 out of 20 and a look at the 4 held out; then two
    # epochs on all 24.
    assert names == ("train",) * 120 + ("test",) * 300
    for start in (0, 36):
        kept = set(indices[start : start + 32])
        held = set(indices[start + 32 : start + 36])
        assert (len(kept), len(held), len(kept & held)) == (20, 4, 0)
    used = set(indices[72:120])
    assert used == kept | held
    assert np.bincount(train.labels[list(used)]).tolist() == [6, 6, 6, 6]
    assert indices[120:] == tuple(range(300))


@pytest.mark.parametrize(
    ("asked", "images", "expected"),
    [
        (256, 87, 80),
        (32, 21, 16),
        (32, 8, 8),
        (32, 7, 6),
        (16, 3, 2),
        (20, 600, 20),
        (24, 24, 24),
    ],
)
def test_few_images_make_an_even_batch(asked, images, expected):
    assert fitting_batch(asked, images) == expected


def test_odd_batches_are_refused(exported, splits):
    expected = "batch_size must be even .*received 31"
    with pytest.raises(ValueError, match=expected):
        finetune(exported, *small(splits), batch_size=31)
    with pytest.raises(ValueError, match=expected):
        evaluate_savedmodel(
            exported,
            *small(splits),
            protocols=["knn", "semi"],
            k=5,
            fitting={"batch_size": 31},
        )


def test_weights_that_are_not_finite(splits, tmp_path):
    path = export_encoder(tmp_path / "broken", offset=np.inf)
    for rates in (0.1, (0.1, 0.2)):
        with pytest.raises(ValueError, match=r"features must be .*broken"):
            finetune(path, *small(splits), learning_rates=rates, epochs=1)


def test_divergence(exported, splits):
    kwargs = {"epochs": 4, "batch_size": 8, "augment": False}
    found = finetune(
        exported, *small(splits), learning_rates=(0.1, 1e30), **kwargs
    )
    assert found["learning_rate"] == 0.1
    with pytest.raises(FloatingPointError, match="diverged for all of learn"):
        finetune(exported, *small(splits), learning_rates=1e30, **kwargs)


def test_too_few_labels(exported, splits):
    with pytest.raises(
        ValueError,
        match=r"fraction must .* received 0.005 of 60, 4 images of 4 classes",
    ):
        finetune(exported, *small(splits), fraction=0.005)
    with pytest.raises(ValueError, match="fraction must be a"):
        finetune(exported, *small(splits), fraction=0)
    found = finetune(
        exported,
        *small(splits),
        fraction=0.005,
        learning_rates=0.1,
        epochs=1,
        augment=False,
    )
    assert found["images"] == 4


def test_data_that_do_not_fit(exported, splits):
    train, test = small(splits)
    unlabelled = ArraySource(train.images)
    with pytest.raises(ValueError, match=r"labels of train .*60 unlabelled"):
        finetune(exported, unlabelled, test)
    with pytest.raises(ValueError, match=r"labels of test .*60 unlabelled"):
        finetune(exported, train, unlabelled)
    one = ArraySource(train.images, np.ones(60, int))
    with pytest.raises(ValueError, match="two classes; received only class 1"):
        finetune(exported, one, test)
    smaller = ArraySource(np.zeros((9, 16, 16, 3), "uint8"), np.arange(9) % 3)
    with pytest.raises(ValueError, match=r"train .*\(32, 32, 3\).*\(16, 16,"):
        finetune(exported, smaller, test)


def test_savedmodels_that_cannot_be_trained(splits, tmp_path):
    class Mean(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, *SIZE))])
        def serve(self, x):
            return {"mean": tf.reduce_mean(x, (1, 2))}

    module = Mean()
    path = tmp_path / "foreign"
    tf.saved_model.save(module, path, {"serving_default": module.serve})
    with pytest.raises(ValueError, match=r"function and weights .*foreign'"):
        finetune(path, *small(splits))

    # A function that knows no training mode.
    weight = tf.Variable(tf.ones((3, 2)))
    layer = tf.train.Checkpoint(weight=weight, trainable_variables=[weight])
    layer.__call__ = tf.function(
        lambda x: tf.reduce_mean(x, (1, 2)) @ layer.weight,
        input_signature=[tf.TensorSpec((None, *SIZE))],
        autograph=False,
    )
    path = tmp_path / "layer"
    tf.saved_model.save(layer, path, {"pooled": layer.__call__})
    with pytest.raises(ValueError, match=r"can be trained.*layer'"):
        finetune(path, *small(splits))
    # As ExportArchive writes: variables, but no function to call.
    archive = keras.export.ExportArchive()
    encoder = make_encoder()
    archive.track(encoder)
    spec = tf.TensorSpec((None, *SIZE), tf.float32, "images")
    archive.add_endpoint("features", encoder, [spec])
    archive.write_out(tmp_path / "earlier", verbose=False)
    with pytest.raises(ValueError, match=r"export again.*earlier'"):
        finetune(tmp_path / "earlier", *small(splits))
