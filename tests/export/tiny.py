"""Models that are small enough to be exported in a test."""

import types

import keras
import numpy as np

SHAPE = (8, 8, 3)
FEATURES, DIM = 6, 5


class Ordering:
    """Stands in for MINC: second moment, `triangular`, `rotation()`."""

    def __init__(self, triangular, seed=0):
        rng = np.random.default_rng(seed)
        factor = rng.normal(size=(DIM, DIM))
        self.second_moment = (factor @ factor.T / DIM).astype("float32")
        self.triangular = triangular

    def rotation(self):
        vectors = np.linalg.eigh(self.second_moment)[1]
        return keras.ops.convert_to_tensor(vectors[:, ::-1].copy())


def make_encoder(dtype=None, shape=SHAPE):
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 255, dtype=dtype),
            keras.layers.Conv2D(FEATURES, 3, dtype=dtype, activation="relu"),
            keras.layers.BatchNormalization(dtype=dtype),
            keras.layers.GlobalAveragePooling2D(dtype=dtype),
        ]
    )


def make_projector(dtype=None, tail=()):
    inputs = keras.Input((FEATURES,))
    x = keras.layers.Dense(7, "relu", dtype=dtype)(inputs)
    x = keras.layers.BatchNormalization(dtype=dtype)(x)
    x = keras.layers.Dense(DIM, dtype=dtype, bias_initializer="normal")(x)
    for layer in tail:
        x = layer(x)
    return keras.Model(inputs, x)


def make_model(dtype=None, objective=None, projector=None):
    return types.SimpleNamespace(
        encoder=make_encoder(dtype),
        projector=projector or make_projector(dtype),
        objective=objective or object(),
    )
