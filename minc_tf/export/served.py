"""The embedding that an export serves, besides the features."""

import dataclasses

import keras
import numpy as np
from keras import ops

from minc_tf._layers import is_centred
from minc_tf.export.ordering import order_of, rotated_layers

#: Eigenvalues below this share of the largest are rounding, not a direction.
_SMALLEST = 1e-6


@dataclasses.dataclass(frozen=True)
class ServedEmbedding:
    """The embedding as exports return it; made by `served_embedding`."""

    layers: list  # of Keras, features -> all d coordinates
    ordered: bool
    constant: bool  # the first is the constant function, and not served
    eigenvalues: np.ndarray | None  # float32 (d,), in the order
    dims: int | None  # how many are served; all if None
    whiten: bool  # divide by the roots of the eigenvalues
    normalize: bool  # to L2 norm 1, after that

    def project(self, features):
        """Return all d coordinates, float32 (B, d), of features (B, F)."""
        z = features
        for layer in self.layers:
            z = layer(z, training=False)
        return ops.cast(z, "float32")

    def select(self, z):
        """Return the served coordinates, (B, k), of all of them, (B, d)."""
        z = z[:, self._served]
        if self.whiten:
            z = z / np.sqrt(self.eigenvalues[self._served])
        if self.normalize:
            norm = ops.sqrt(ops.sum(ops.square(z), axis=-1, keepdims=True))
            z = z / ops.maximum(norm, 1e-12)
        return z

    def names(self, dim: int) -> list[str]:
        """Return a name for each served coordinate of d, counted from 0."""
        return [f"embedding_{i}" for i in range(dim)[self._served]]

    def manifest(self, dim: int) -> dict:
        """Return the manifest's entry on the served embedding of d."""
        kept = range(dim)[self._served]
        return {
            "dim": len(kept),
            "whiten": self.whiten,
            "normalize": self.normalize,
            "constant_dropped": self.constant,
        }

    @property
    def _served(self):
        first = int(self.constant)
        return slice(first, None if self.dims is None else first + self.dims)


def served_embedding(
    model, *, dims: int | None, whiten: bool, normalize: bool
) -> ServedEmbedding:
    """Check the options, and find out how a model's embedding is served."""
    for name, value in (("whiten", whiten), ("normalize", normalize)):
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be a bool; received {value!r}")
    # With a predictor the objective orders the predictions, not these.
    objective = model.objective
    if getattr(model, "predictor", None) is not None:
        objective = None
    ordered, rotation, eigenvalues = order_of(objective)
    constant = ordered and not is_centred(model.projector)
    _check_dims(dims, ordered, constant, eigenvalues)
    if whiten:
        _check_whiten(ordered, constant, eigenvalues, dims)
    layers = [model.projector]
    if rotation is not None:
        layers = rotated_layers(model.projector, rotation)
    return ServedEmbedding(
        layers, ordered, constant, eigenvalues, dims, whiten, normalize
    )


def features_of(encoder: keras.Layer, images):
    """The features of images at inference, float32 (B, F)."""
    return ops.cast(encoder(images, training=False), "float32")


def _check_dims(dims, ordered, constant, eigenvalues):
    if dims is None:
        return
    if isinstance(dims, bool) or not isinstance(dims, int):
        raise TypeError(f"dims must be an int or None; received {dims!r}")
    if not ordered:
        raise ValueError(
            f"dims must be None for an embedding without order; received "
            f"{dims}; only MINC orders its coordinates, and only without a "
            "predictor"
        )
    most = len(eigenvalues) - constant
    if not 1 <= dims <= most:
        which = "the coordinates but the constant one" if constant else "all"
        raise ValueError(
            f"dims must be in 1 to {most}, {which}; received {dims}"
        )


def _check_whiten(ordered, constant, eigenvalues, dims):
    if not ordered:
        raise ValueError(
            "whiten must be False for an embedding without eigenvalues; "
            "received True; only MINC estimates them, and only without a "
            "predictor"
        )
    start = int(constant)
    small = eigenvalues[start:][:dims] <= _SMALLEST * eigenvalues.max()
    if small.any():
        first = int(np.argmax(small))
        raise ValueError(
            f"whiten must be False, or dims at most {first}; received True "
            f"and dims={dims}: eigenvalue {first + start} is "
            f"{eigenvalues[first + start]:.3g}, too small to divide by"
        )
