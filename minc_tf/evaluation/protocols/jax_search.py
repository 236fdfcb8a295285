"""The search of nearest neighbours on JAX."""

import functools
from collections.abc import Callable

import jax
import numpy as np


def nearest_rows(train: np.ndarray, count: int) -> Callable:
    """Makes a function that finds the rows with the largest products.

    Args:
        train: float32 array (N, D).
        count: int, at most N.

    Returns:
        Function from a float32 array (M, D) to `(products, rows)`, NumPy
        arrays (M, count), the largest product first.
    """
    train = jax.device_put(train)

    def search(queries):
        return tuple(map(np.asarray, _search(queries, train, count=count)))

    return search


@functools.partial(jax.jit, static_argnames="count")
def _search(queries, train, *, count):
    # A GPU or TPU would take fewer digits by default.
    similarity = jax.numpy.matmul(
        queries, train.T, precision=jax.lax.Precision.HIGHEST
    )
    return jax.lax.top_k(similarity, count)
