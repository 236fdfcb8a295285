"""Norms of embeddings: bounded, or one. Safe at zero and at large values."""

import numpy as np
from keras import ops

from minc_tf._checks import check_number

#: Rows of smaller entries count as zero.
_TINY = 1e-36


def check_mu(name: str, mu) -> None:
    """Raises a ValueError unless `mu` is a bound for `clip_norm`."""
    if mu is not None:
        check_number(name, mu, 0, ends="(]", also=", or None")


def clip_norm(z, mu):
    """Bounds the norm of each embedding (B, d) by `sqrt(mu)`; None: no bound.

    The comparison carries no gradient. The code of arXiv 2106.04156 does this.
    """
    if mu is None:
        return z
    largest, unit = _largest_and_unit(z)
    # A zero row would be 0 / 0 in the branch that is not taken.
    inside = _norm(unit) * largest < mu**0.5
    return ops.where(inside, z, mu**0.5 * unit / _norm(unit))


def unit_norm(z):
    """Scales each row to norm one; zeros stay zeros, with a finite gradient.

    Of a NumPy array the result is one.
    """
    _, unit = _largest_and_unit(z)
    return unit / _norm(unit)


def _largest_and_unit(z):
    """The largest entry of each row, and the row divided by it."""
    library = _library(z)
    # Divided before it is squared: squares of 1e20 overflow float32.
    largest = library.max(library.abs(z), axis=-1, keepdims=True)
    if library is ops:
        largest = ops.stop_gradient(largest)
    # Divided by one where it is zero, so that the gradient stays bounded.
    return largest, z / library.where(largest > _TINY, largest, 1.0)


def _norm(unit):
    """Norm of each row, and one for a row of zeros."""
    library = _library(unit)
    squared = library.sum(library.square(unit), axis=-1, keepdims=True)
    # sqrt'(0) is infinite; a zero row must give a finite gradient, not NaN.
    return library.sqrt(library.where(squared > _TINY, squared, 1.0))


def _library(z):
    """Whose functions take `z`: features in memory stay NumPy's."""
    return np if isinstance(z, np.ndarray) else ops
