"""Vectors as matrices: checked, and scaled to norm one."""

import numpy as np
from keras import ops


def as_matrix(name: str, array):
    """Embeddings as a float32 tensor (N, d), or a ValueError."""
    array = ops.cast(ops.convert_to_tensor(array), "float32")
    if len(array.shape) != 2 or 0 in tuple(array.shape):
        raise ValueError(
            f"{name} must have shape (N, d); received {tuple(array.shape)}."
        )
    return array


def directions(z):
    """Scale embeddings, a float32 tensor (N, d), to norm one; zeros stay."""
    z = z / ops.maximum(ops.max(ops.abs(z), axis=-1, keepdims=True), 1e-30)
    norm = ops.sqrt(ops.sum(ops.square(z), axis=-1, keepdims=True))
    return z / ops.maximum(norm, 1e-30)


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Scale the rows of an array (N, d) to norm one; zeros stay zeros."""
    # Of large or tiny numbers the squares would leave the range of float32.
    largest = np.abs(x).max(axis=1, keepdims=True)
    x = x / np.where(largest > 0, largest, 1)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norm > 0, norm, 1)


def check_features(
    name: str,
    features,
    dim: int | None = None,
    samples: int | None = None,
) -> np.ndarray:
    """Convert features to a C-contiguous float32 array (N, D), all finite.

    `dim` and `samples` are the D and N that are required, `None` any; what
    does not fit is a ValueError.
    """
    features = np.ascontiguousarray(features, dtype="float32")
    if features.ndim != 2 or not features.size:
        raise ValueError(
            f"{name} must be a non-empty array of shape (samples, features), "
            f"received shape {features.shape}"
        )
    if dim is not None and features.shape[1] != dim:
        raise ValueError(
            f"{name} must have the {dim} features of the training samples, "
            f"received shape {features.shape}"
        )
    if samples is not None and len(features) != samples:
        raise ValueError(
            f"{name} must be of {samples} samples, received shape "
            f"{features.shape}"
        )
    # The sum is finite when all is; it costs no temporary array.
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(features.sum(dtype="float64"))
    if not finite:
        bad = ~np.isfinite(features)
        raise ValueError(
            f"{name} must be finite, received {np.count_nonzero(bad)} NaN or "
            f"infinite values in {np.count_nonzero(bad.any(1))} of "
            f"{len(features)} samples"
        )
    return features
