"""Retrieval with frozen features: recall@k and mean average precision."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from minc_tf.diagnostics.vectors import check_features
from minc_tf.evaluation.checks import (
    check_labels,
    check_ranks,
    check_several,
)
from minc_tf.evaluation.protocols.float32 import full_float32
from minc_tf.objectives.norms import unit_norm

_LOGGER = logging.getLogger(__name__)

# Similarities held at once: 64 MiB of float32.
_CHUNK_ELEMENTS = 2**24


def retrieval_metrics(
    features: np.ndarray,
    labels: np.ndarray,
    ks: int | Sequence[int] = (1, 5, 10),
    *,
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
) -> dict[str, float]:
    """Recall@k and mean average precision of a search by cosine similarity.

    Each sample is a query; relevant are the images of its class in the
    gallery. Without a gallery the samples search among themselves, each
    without itself.

    Equal similarities never depend on the order of the gallery. For recall
    the irrelevant images of a tie come first; for average precision a tie is
    retrieved as a whole, as in scikit-learn.

    Args:
        features: float array (M, D), the queries, of any scale.
        labels: integer array (M,), class indices from 0.
        ks: positive int, or several, at most the size of what is searched.
        gallery: float array (N, D) to search; `None` for `features` itself.
        gallery_labels: integer array (N,), given with `gallery`.

    Returns:
        Dict of floats in [0, 1]: for each k `recall_at_<k>`, the part of the
        queries with a relevant image among their first k, and `map`, the mean
        of the average precision over the whole ranking. Queries of whose class
        there is no other image are left out, which the log tells.

    Raises:
        TypeError: labels or `ks` are not integers.
        ValueError: features that are not finite or do not fit together, labels
            that are missing or all the same, `ks` out of range, or no query
            with a relevant image.

    Example:
    ```python
    x = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    retrieval_metrics(x, np.array([0, 0, 1, 1]), ks=1)
    # {'recall_at_1': 1.0, 'map': 1.0}
    ```

    Source: recall@k as in Oh Song et al., "Deep Metric Learning via Lifted
    Structured Feature Embedding", arXiv 1511.06452, section 5; mAP as in
    Philbin et al., "Object Retrieval with Large Vocabularies and Fast Spatial
    Matching", CVPR 2007.
    """
    if (gallery is None) != (gallery_labels is None):
        missing = "gallery" if gallery is None else "gallery_labels"
        raise ValueError(
            "gallery and gallery_labels must be given together; received no "
            f"{missing}"
        )
    x = check_features("features", features)
    y = check_labels("labels", labels, len(x))
    alone = gallery is None
    if alone:
        items, item_labels = x, y
        check_several("labels", y)
        ks = check_ranks("ks", ks, len(x) - 1, "other samples")
    else:
        items = check_features("gallery", gallery, x.shape[1])
        item_labels = check_labels("gallery_labels", gallery_labels, len(items))
        check_several("gallery_labels", item_labels)
        ks = check_ranks("ks", ks, len(items), "samples of the gallery")

    queries = _with_relevant(y, item_labels, alone)
    ahead = np.empty(len(queries), "int64")
    precision = np.empty(len(queries), "float64")
    done = 0
    for rows, similarity in _similarities(x, items, queries, alone):
        for similar, label in zip(similarity, y[rows], strict=True):
            ahead[done], precision[done] = rank_scores(
                similar, item_labels == label
            )
            done += 1
    recalls = {f"recall_at_{k}": float(np.mean(ahead < k)) for k in ks}
    return {**recalls, "map": float(np.mean(precision))}


def rank_scores(
    similarity: np.ndarray, relevant: np.ndarray
) -> tuple[int, float]:
    """Return how many irrelevant items come first, and the average precision.

    Those as similar as the first relevant one count; -inf is not searched.
    """
    found = np.sort(similarity[relevant & np.isfinite(similarity)])
    ranked = np.sort(similarity)
    retrieved = len(ranked) - np.searchsorted(ranked, found)
    hits = len(found) - np.searchsorted(found, found)
    return int(retrieved[-1] - hits[-1]), float(np.mean(hits / retrieved))


def _with_relevant(labels, item_labels, alone) -> np.ndarray:
    """Rows of the queries that have something to find."""
    # Numbered anew: the size of a label must not be that of an array.
    known, places = np.unique(item_labels, return_inverse=True)
    counts = np.bincount(places)[np.searchsorted(known, labels) % len(known)]
    counts = counts * np.isin(labels, known) - alone
    queries = np.flatnonzero(counts)
    if not len(queries):
        raise ValueError(
            "labels must be of classes that the searched samples have; "
            f"received {len(labels)} queries without any relevant sample"
        )
    if len(queries) < len(labels):
        _LOGGER.warning(
            "%d of %d queries are left out: no other sample has their class",
            len(labels) - len(queries),
            len(labels),
        )
    return queries


def _similarities(x, items, queries, alone) -> Iterator[tuple]:
    """Chunks of query rows, with their similarities to all items."""
    items = tf.constant(unit_norm(items))
    size = max(1, _CHUNK_ELEMENTS // len(items))
    for start in range(0, len(queries), size):
        rows = queries[start : start + size]
        with full_float32():
            similarity = tf.matmul(
                unit_norm(x[rows]), items, transpose_b=True
            ).numpy()
        if alone:
            similarity[np.arange(len(rows)), rows] = -np.inf
        yield rows, similarity
