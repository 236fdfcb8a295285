"""Vectors as matrices, checked."""

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


def check_features(
    name: str,
    features,
    dim: int | None = None,
    samples: int | None = None,
) -> np.ndarray:
    """Convert features to a C-contiguous float32 array (N, D), all finite.

    `dim` and `samples` are the D and N that are required, `None` any.
    """
    features = np.ascontiguousarray(features, dtype="float32")
    if features.ndim != 2 or not features.size:
        raise ValueError(
            f"{name} must be a non-empty array of shape (samples, features); "
            f"received shape {features.shape}"
        )
    if dim is not None and features.shape[1] != dim:
        raise ValueError(
            f"{name} must have the {dim} features of the training samples; "
            f"received shape {features.shape}"
        )
    if samples is not None and len(features) != samples:
        raise ValueError(
            f"{name} must be of {samples} samples; received shape "
            f"{features.shape}"
        )
    # The sum is finite when all is; it costs no temporary array.
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(features.sum(dtype="float64"))
    if not finite:
        bad = ~np.isfinite(features)
        raise ValueError(
            f"{name} must be finite; received {np.count_nonzero(bad)} NaN or "
            f"infinite values in {np.count_nonzero(bad.any(1))} of "
            f"{len(features)} samples"
        )
    return features
