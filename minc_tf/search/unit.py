"""Vectors of norm one, and the axes on which most of them is."""

from collections.abc import Iterable

import numpy as np


def unit_rows(name: str, vectors: np.ndarray, zero: bool = True) -> np.ndarray:
    """Return a float32 copy (N, D) of norm one; a zero stays if `zero`."""
    x = np.asarray(vectors)
    if x.ndim != 2 or not x.size:
        raise ValueError(
            f"{name} must be a non-empty array (N, D); received shape {x.shape}"
        )
    if not (
        np.issubdtype(x.dtype, np.floating)
        or np.issubdtype(x.dtype, np.integer)
    ):
        raise TypeError(f"{name} must be numbers; received {x.dtype}")
    finite = np.isfinite(x).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"{name} must be finite; received NaN or infinite values in "
            f"{len(x) - finite.sum()} of {len(x)}"
        )
    x = x.astype("float32")
    # Squares of large values, and of small ones, are out of float32's range.
    largest = np.abs(x).max(axis=1, keepdims=True)
    none = largest[:, 0] == 0
    if none.any() and not zero:
        raise ValueError(
            f"{name} must not be zero; received {none.sum()} such of {len(x)}"
        )
    x /= np.where(largest, largest, 1)
    norms = np.sqrt(np.einsum("nd,nd->n", x, x))[:, np.newaxis]
    return x / np.where(norms, norms, 1)


def principal_axes(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Axes (D, D), columns, by descending mean square about 0, not the mean."""
    moment = 0.0
    for block in blocks:
        wide = block.astype("float64")
        moment = moment + wide.T @ wide
    _, axes = np.linalg.eigh(moment)
    return np.ascontiguousarray(axes[:, ::-1], "float32")
