"""Embeddings that are cut off after their first coordinates."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from minc_tf import diagnostics
from minc_tf._checks import check_choice
from minc_tf.diagnostics import Ordering
from minc_tf.diagnostics.vectors import check_features
from minc_tf.evaluation.checks import check_dims
from minc_tf.evaluation.protocols.float32 import eigh, matmul
from minc_tf.evaluation.protocols.on_features import evaluate_features

#: Directions with less than this share of the largest variance are rounding.
_SMALLEST_VARIANCE = 1e-10

# Rows that are float64 at once.
_ROWS = 8192

#: What can put the coordinates of a SavedModel's output in order.
ORDERS = ("auto", "embedding", "pairs", "pca")


def pca(features: np.ndarray, dim: int | None = None) -> Ordering:
    """Order features by variance: the baseline of orders that views give.

    Args:
        features: float array (N, D), of the training split.
        dim: int, how many components to keep; `None` for all that vary.

    Returns:
        A `minc_tf.diagnostics.Ordering` whose coordinates are the principal
        components, and whose `eigenvalues` are their variances.

    Raises:
        ValueError: features that are not finite or do not vary, or `dim` out
            of range.

    Example:
    ```python
    x = np.random.default_rng(0).normal(size=(500, 8))
    minc_tf.evaluation.pca(x)(x, dim=3).shape  # (500, 3)
    ```

    Source: Bishop, Pattern Recognition and Machine Learning, section 12.1.
    """
    x = check_features("features", features)
    mean = x.mean(0, dtype="float64")
    covariance = np.zeros((len(mean), len(mean)))
    for start in range(0, len(x), _ROWS):
        centred = x[start : start + _ROWS] - mean
        covariance += matmul(centred, centred, transpose_a=True)
    variances, axes = eigh(covariance / len(x))
    variances, axes = variances[::-1], axes[:, ::-1]
    smallest = max(_SMALLEST_VARIANCE * variances[0], 1e-30)
    rank = int(np.count_nonzero(variances > smallest))
    if not rank:
        raise ValueError(
            f"features must vary; received the same {len(mean)} values in "
            f"{len(x)} samples"
        )
    if dim is not None and not 1 <= dim <= rank:
        raise ValueError(
            f"dim must be between 1 and {rank}, the components that vary; "
            f"received {dim}"
        )
    variances, axes = variances[:rank][:dim], axes[:, :rank][:, :dim]
    return Ordering(mean, axes / np.sqrt(variances), variances)


def evaluate_dims(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    dims: Sequence[int],
    *,
    protocols: Sequence[str] = ("knn", "retrieval"),
    k: int | Sequence[int] = 20,
    ordering: Ordering | None = None,
    **settings: Any,
) -> list[dict]:
    """Evaluate the first coordinates of an ordered embedding.

    Args:
        train: features, float32 (N, D), and labels, int64 (N,), of the
            training split.
        test: the same of the test split.
        dims: ascending sequence of int, how many coordinates.
        protocols: see `evaluate_features`.
        k: number of neighbours, or several.
        ordering: a `minc_tf.diagnostics.Ordering`, such as
            `minc_tf.diagnostics.order` or `pca` make it, to apply to the
            features; `None` for features that are in order already.
        **settings: further ones of `evaluate_features`.

    Returns:
        List of dicts, a row for each of `dims`: `dim`, and what
        `evaluate_features` returns.

    Raises:
        TypeError: `dims` are not integers.
        ValueError: `dims` that do not ascend or are more than there are, or as
            `evaluate_features`.

    Example:
    ```python
    ordering = minc_tf.evaluation.pca(train[0])
    rows = minc_tf.evaluation.evaluate_dims(
        train, test, (8, 16, 32), ordering=ordering
    )
    minc_tf.evaluation.plot_dims({"PCA": rows}, "dims.png")
    ```
    """
    splits = [(check_features("features", x), y) for x, y in (train, test)]
    dims = check_dims(dims, _coordinates(ordering, splits[0][0]))
    if ordering is not None:
        splits = [(ordering(x, dims[-1]), y) for x, y in splits]
    rows = []
    for dim in dims:
        train, test = ((x[:, :dim], y) for x, y in splits)
        found = evaluate_features(
            train, test, protocols=protocols, k=k, **settings
        )
        rows.append({"dim": dim, **found})
    return rows


def resolve_order(order: str, output: str, manifest: dict | None) -> str:
    """Resolve `"auto"`: `"embedding"` where that is ordered, else `"pairs"`."""
    check_choice("order", order, ORDERS)
    ordered = (manifest or {}).get("embedding_ordered", False)
    ordered = ordered and output == "embedding"
    if order == "embedding" and not ordered:
        raise ValueError(
            "order='embedding' needs output='embedding' of a SavedModel whose "
            f"manifest calls it ordered; received output={output!r}; use "
            "'pairs' or 'pca'"
        )
    if order != "auto":
        return order
    return "embedding" if ordered else "pairs"


def truncation_curves(
    encode: Callable,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    dims: Sequence[int],
    *,
    order: str,
    pairs: Iterable | None = None,
    verbose: int = 0,
    **settings,
) -> dict[str, list[dict]]:
    """Return the rows of `evaluate_dims` for an order, and for `"pca"`.

    `encode` and `pairs`, batches of (view1, view2), are for `"pairs"` alone.
    """
    orderings = {"pca": pca(train[0])}
    if order == "pairs":
        ordering = diagnostics.order(encode, _shown(pairs, verbose))
        orderings = {"pairs": ordering, **orderings}
    elif order == "embedding":
        orderings = {"embedding": None, **orderings}
    for ordering in orderings.values():
        check_dims(dims, _coordinates(ordering, train[0]))
    return {
        name: evaluate_dims(train, test, dims, ordering=ordering, **settings)
        for name, ordering in orderings.items()
    }


def _shown(pairs, verbose) -> Iterator:
    """The batches themselves, counted by a bar."""
    count = len(pairs) if hasattr(pairs, "__len__") else None
    bar = keras.utils.Progbar(count, verbose=verbose, unit_name="batch")
    for pair in pairs:
        yield pair
        bar.add(1)


def _coordinates(ordering, features) -> int:
    return features.shape[1] if ordering is None else len(ordering.eigenvalues)
