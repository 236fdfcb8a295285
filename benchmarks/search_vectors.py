"""Vectors for `search.py`: small encoders, trained once, and their outputs.

An encoder of `grid.py` (MINC, B = 64, 40,000 images, mu = 10) on images of 32
pixels, in two forms: `triangular`, whose coordinates training puts in order,
and `rotation`, ordered afterwards by the eigenvectors of Lambda as an export
does it. What is made is kept in a folder, so that a second start goes on with
the rest.
"""

import pathlib

import grid
import keras
import numpy as np
import tensorflow as tf

import minc_tf
from minc_tf import data
from minc_tf.export.ordering import order_of

SIZE, BATCH, MU, RATE, SEED = 32, 64, 10.0, 4e-3, 1
FORMS = ("rotation", "triangular")


def splits(dataset, form, folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Embeddings of a data set, float32 (N, 127): `train` and `test`.

    Of the form `rotation` also `train_raw` and `test_raw` (N, 128), the same
    vectors in the coordinates of the network, which have no order.
    """
    return _kept(
        folder / f"{dataset}_{form}.npz",
        lambda: _embeddings(dataset, form, folder),
    )


def views(dataset, form, count, folder: pathlib.Path) -> np.ndarray:
    """Embeddings of random views of the training images, float32 (N, 127)."""
    path = folder / f"{dataset}_{form}_views_{count}.npz"
    return _kept(path, lambda: _views(dataset, form, count, folder))["train"]


def _kept(path, make):
    """The arrays of a file, which is made where it is missing."""
    if not path.exists():
        found = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"part.{path.name}")
        np.savez(part, **found)
        part.replace(path)
    with np.load(path) as found:
        return {name: found[name] for name in found.files}


def _embeddings(dataset, form, folder):
    model = _trained(dataset, form, folder)
    found = {}
    for split in ("train", "test"):
        images = _images(dataset, split).images
        batches = tf.data.Dataset.from_tensor_slices(images).batch(500)
        raw = _encoded(model, batches)
        found[split] = _ordered(model, raw)
        if form == "rotation":
            found[f"{split}_raw"] = _without_constant(model, raw)
    keras.backend.clear_session()
    return found


def _views(dataset, form, count, folder):
    model = _trained(dataset, form, folder)
    both = grid.view_batches(dataset, _images(dataset, "train"), 250, SEED)
    one = both.flat_map(
        lambda a, b: tf.data.Dataset.from_tensor_slices(tf.stack([a, b]))
    )
    raw = _encoded(model, one.take(-(-count // 250)))[:count]
    keras.backend.clear_session()
    return {"train": _ordered(model, raw)}


def _encoded(model, batches):
    @tf.function
    def encode(images):
        images = tf.cast(images, tf.float32)
        return model.projector(model.encoder(images, training=False))

    return np.concatenate([encode(batch).numpy() for batch in batches])


def _ordered(model, raw):
    """The coordinates in order, without the first, which is constant."""
    _, rotation, _ = order_of(model.objective)
    found = raw if rotation is None else raw @ rotation
    return np.ascontiguousarray(found[:, 1:], "float32")


def _without_constant(model, raw):
    _, rotation, _ = order_of(model.objective)
    constant = rotation[:, :1]
    return (raw - (raw @ constant) @ constant.T).astype("float32")


def _trained(dataset, form, folder):
    """The model of a data set, from its file or from a run."""
    keras.utils.set_random_seed(SEED)
    encoder = minc_tf.models.small_resnet(
        filters=grid.FILTERS, image_shape=(SIZE, SIZE, 3)
    )
    model = minc_tf.build(
        "minc",
        encoder,
        projector_widths=grid.WIDTHS,
        mu=MU,
        triangular=form == "triangular",
    )
    path = folder / f"{dataset}_{form}.weights.h5"
    if path.exists():
        blank = np.zeros((2, SIZE, SIZE, 3), "float32")
        model(blank)
        model.load_weights(path)
        return model
    steps = grid.IMAGES // BATCH
    schedule = minc_tf.optimizers.warmup_cosine(
        RATE, steps=steps, warmup_steps=steps // 20
    )
    model.compile(keras.optimizers.AdamW(schedule, weight_decay=0.05))
    model.fit(
        grid.view_batches(dataset, _images(dataset, "train"), BATCH, SEED),
        steps_per_epoch=steps,
        callbacks=[keras.callbacks.TerminateOnNaN()],
        shuffle=False,
        verbose=0,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save_weights(path)
    return model


def _images(dataset, split):
    """A split in memory, its images made 32 pixels large."""
    source = grid.arrays(dataset, split)
    images = source.images
    if images.shape[1] == SIZE:
        return source
    parts = [
        tf.image.resize(images[i : i + 1000], (SIZE, SIZE), "area").numpy()
        for i in range(0, len(images), 1000)
    ]
    images = np.rint(np.concatenate(parts)).astype("uint8")
    return data.ArraySource(images, source.labels)
