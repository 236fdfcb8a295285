"""Weighted kNN of vectors in tables, by blocks."""

from collections.abc import Sequence
from typing import overload

import numpy as np

from minc_tf.evaluation.embedding.shards import as_vectors
from minc_tf.evaluation.protocols.knn import (
    Nearest,
    check_k,
    check_temperature,
    unit_columns,
)
from minc_tf.evaluation.streaming.samples import (
    AnyVectors,
    Samples,
    check_samples,
)

# Test vectors that wait for one pass over the training vectors, and their
# neighbours: 64 MiB of numbers.
_QUERY_ELEMENTS = 2**24


@overload
def stream_knn(
    train: AnyVectors | Samples,
    test: AnyVectors | Samples,
    *,
    k: int = ...,
    temperature: float = ...,
) -> float: ...


@overload
def stream_knn(
    train: AnyVectors | Samples,
    test: AnyVectors | Samples,
    *,
    k: Sequence[int],
    temperature: float = ...,
) -> dict[int, float]: ...


def stream_knn(
    train: AnyVectors | Samples,
    test: AnyVectors | Samples,
    *,
    k: int | Sequence[int] = 200,
    temperature: float = 0.07,
) -> float | dict[int, float]:
    """`knn_accuracy` of vectors in tables, a block in memory at a time.

    Test vectors are taken in blocks of 64 MiB, with what they have found so
    far; for each the training vectors pass once.

    Args:
        train: labelled vectors, as `Vectors` or the path, paths or glob of
            what it reads.
        test: labelled vectors of the same length.
        k: positive int, at most the number of training vectors; or several,
            evaluated in one pass.
        temperature: positive float.

    Returns:
        Fraction of right predictions; where `k` is a sequence, a dict from
        each k to its accuracy.

    Raises:
        FileNotFoundError: there is no such table.
        TypeError: `k` is not an integer.
        ValueError: as `knn_accuracy` and `Vectors`, and for tables of
            different models.

    Example:
    ```python
    minc_tf.evaluation.stream_knn("train/", "test/", k=(20, 200))
    # {20: 0.612, 200: 0.598}
    ```
    """
    check_temperature(temperature)
    if not isinstance(train, Samples):
        train = as_vectors("train", train)
    ks = check_k(k, len(train))
    train, test = check_samples(train, test)
    each = train.dimension + 3 * max(ks)
    right = dict.fromkeys(ks, 0)
    for x, y in test.blocks(max(1, _QUERY_ELEMENTS // each)):
        nearest = Nearest(x, max(ks))
        for known, labels in train.blocks():
            nearest.add(unit_columns(known), labels)
        for n, found in nearest.vote(ks, temperature, train.classes).items():
            right[n] += np.count_nonzero(found == y)
    accuracies = {n: float(count / len(test)) for n, count in right.items()}
    return accuracies[ks[0]] if np.ndim(k) == 0 else accuracies
