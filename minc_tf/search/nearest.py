"""The vectors with the largest inner products with some queries."""

import functools
import importlib
import types

import numpy as np

from minc_tf._checks import check_choice

ENGINES = ("auto", "faiss", "numpy")

# Inner products, or numbers of gathered vectors, at once: 64 MiB of float32.
_ELEMENTS = 2**24

# Queries that are compared with a block at once.
_QUERIES = 256


def nearest(
    vectors: np.ndarray, queries: np.ndarray, count: int, engine: str = "auto"
) -> np.ndarray:
    """Return the rows (Q, count) nearest to queries (Q, D), nearest first.

    By inner product; `"auto"` is FAISS where it is installed.
    """
    check_choice("engine", engine, ENGINES)
    faiss = None if engine == "numpy" else _faiss()
    if faiss is not None:
        # Its own search of arrays: an index would hold a second copy.
        _, rows = faiss.knn(
            queries, vectors, count, metric=faiss.METRIC_INNER_PRODUCT
        )
        return rows
    if engine == "faiss":
        raise ImportError(
            "engine='faiss' needs FAISS, which is not installed: pip install "
            "minc_tf[search]; or take engine='numpy'"
        )
    parts = [
        _by_blocks(vectors, queries[start : start + _QUERIES], count)
        for start in range(0, len(queries), _QUERIES)
    ]
    return np.concatenate(parts)


def closest_of(
    vectors: np.ndarray, queries: np.ndarray, rows: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compare queries (Q, D) each with its own rows (Q, C), none twice.

    Unit vectors (N, W) are cut to D and made unit vectors anew. Returns
    products (Q, count), descending, and rows, of equals the lower row first.
    """
    dim = queries.shape[1]
    # In the order of the disk, and of ties.
    rows = np.sort(rows, axis=1)
    products = np.empty((len(queries), count), "float32")
    best = np.empty((len(queries), count), "int64")
    size = max(1, _ELEMENTS // (rows.shape[1] * dim))
    for start in range(0, len(queries), size):
        part = slice(start, start + size)
        gathered = vectors[rows[part], :dim]
        # No BLAS, whose rounding depends on a vector's place in the matrix.
        found = np.einsum("qcd,qd->qc", gathered, queries[part])
        if dim < vectors.shape[1]:
            norms = np.sqrt(np.einsum("qcd,qcd->qc", gathered, gathered))
            found /= np.where(norms, norms, 1)
        order = np.argsort(-found, axis=1, kind="stable")[:, :count]
        products[part] = np.take_along_axis(found, order, 1)
        best[part] = np.take_along_axis(rows[part], order, 1)
    return products, best


def _by_blocks(vectors, queries, count):
    """As `nearest`, in NumPy, block by block of the vectors."""
    size = max(1, _ELEMENTS // len(queries))
    products = np.empty((len(queries), 0), "float32")
    rows = np.empty((len(queries), 0), "int64")
    for start in range(0, len(vectors), size):
        found = queries @ vectors[start : start + size].T
        best = _largest(found, count)
        found = np.take_along_axis(found, best, 1)
        # Those of the blocks before come first, also where they are equal.
        products = np.concatenate([products, found], 1)
        rows = np.concatenate([rows, start + best], 1)
        best = _largest(products, count)
        products = np.take_along_axis(products, best, 1)
        rows = np.take_along_axis(rows, best, 1)
    return rows


def _largest(values, count):
    """Places of each row's largest, (Q, count) or all, first of equals."""
    count = min(count, values.shape[1])
    edge = values.shape[1] - count
    least = np.partition(values, edge, axis=1)[:, edge]
    best = np.empty((len(values), count), "int64")
    for row, each in enumerate(values):
        found = np.flatnonzero(each >= least[row])
        order = np.argsort(-each[found], kind="stable")[:count]
        best[row] = found[order]
    return best


@functools.cache
def _faiss() -> types.ModuleType | None:
    """FAISS; `None` where it is not installed."""
    try:
        return importlib.import_module("faiss")
    except ImportError:
        return None
