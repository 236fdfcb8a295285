"""Small encoders and labelled images."""

import pathlib
import shutil
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from minc_tf.export import export_savedmodel

SHAPE = (4, 4, 3)
DIM = 5


class Ordering:
    """Stands in for MINC with the triangular second moment."""

    triangular = True
    second_moment = np.diag(np.linspace(1, 0.2, DIM)).astype("float32")

    def rotation(self):
        raise AssertionError("a triangular embedding needs no rotation")


def make_batches(n=60, classes=3, seed=0, batch_size=16, shape=SHAPE):
    """Dark to bright images; the class is the brightness."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    base = 40 + 180 * labels / max(1, classes - 1)
    noise = rng.normal(scale=25, size=(n, *shape))
    images = np.clip(base[:, None, None, None] + noise, 0, 255)
    data = {"image": images.astype("uint8"), "label": labels.astype("int64")}
    return tf.data.Dataset.from_tensor_slices(data).batch(batch_size)


def make_model():
    """A linear encoder and projector, the same every time."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Rescaling(1 / 127.5, -1),
            keras.layers.Flatten(),
            keras.layers.Dense(8),
        ]
    )
    projector = keras.Sequential([keras.Input((8,)), keras.layers.Dense(DIM)])
    return types.SimpleNamespace(
        encoder=encoder, projector=projector, objective=Ordering()
    )


@pytest.fixture
def model():
    return make_model()


@pytest.fixture(scope="session")
def exported_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    return pathlib.Path(export_savedmodel(make_model(), folder / "models"))


@pytest.fixture
def exported(exported_once, tmp_path):
    """An export of the model, which a test may change."""
    copy = shutil.copytree(exported_once.parent, tmp_path / "models")
    return str(copy / exported_once.name)
