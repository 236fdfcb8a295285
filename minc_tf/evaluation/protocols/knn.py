"""Weighted k-nearest-neighbour classification of frozen features."""

from collections.abc import Sequence
from typing import overload

import keras
import numpy as np
from keras import ops

from minc_tf.diagnostics.vectors import check_features
from minc_tf.evaluation.checks import check_classes, check_labels
from minc_tf.objectives.norms import unit_norm

# Similarities held at once: 128 MiB of float32.
_CHUNK_ELEMENTS = 2**25


@overload
def knn_predict(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    *,
    k: int = ...,
    temperature: float = ...,
    num_classes: int | None = ...,
) -> np.ndarray: ...


@overload
def knn_predict(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    *,
    k: Sequence[int],
    temperature: float = ...,
    num_classes: int | None = ...,
) -> dict[int, np.ndarray]: ...


def knn_predict(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    *,
    k: int | Sequence[int] = 200,
    temperature: float = 0.07,
    num_classes: int | None = None,
) -> np.ndarray | dict[int, np.ndarray]:
    """Classify by a weighted vote of the nearest training samples.

    The k training samples of largest cosine similarity s vote for their class
    with weight exp(s / temperature). Equal votes go to the lower class index.

    Args:
        train_features: float array (N, D), of any scale.
        train_labels: integer array (N,), class indices from 0.
        test_features: float array (M, D).
        k: positive int, at most N; or several, evaluated in one pass.
        temperature: positive float.
        num_classes: int; `None` means `max(train_labels) + 1`.

    Returns:
        int64 array (M,) of predicted classes; where `k` is a sequence, a dict
        from each k to such an array.

    Raises:
        TypeError: `k` or the labels are not integers.
        ValueError: features that are not finite or do not fit together, labels
            that are missing or all the same, `k`, `temperature` or
            `num_classes` out of range.

    Example:
    ```python
    x = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    knn_predict(x, np.array([0, 0, 1]), x, k=2)  # [0, 0, 1]
    ```

    Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric
    Instance Discrimination", arXiv 1805.01978, section 3.4.
    """
    train = check_features("train_features", train_features)
    test = check_features("test_features", test_features, train.shape[1])
    labels = check_labels("train_labels", train_labels, len(train))
    classes = check_classes("train_labels", labels)
    if num_classes is not None:
        if num_classes < classes:
            raise ValueError(
                f"num_classes must be at least {classes}, the largest label "
                f"plus one; received {num_classes}"
            )
        classes = num_classes
    ks = check_k(k, len(train))
    check_temperature(temperature)

    predictions = {n: np.empty(len(test), "int64") for n in ks}
    columns = unit_columns(train)
    rows = max(1, _CHUNK_ELEMENTS // len(labels))
    for start in range(0, len(test), rows):
        nearest = Nearest(test[start : start + rows], max(ks))
        nearest.add(columns, labels)
        for n, found in nearest.vote(ks, temperature, classes).items():
            predictions[n][start : start + rows] = found
    return predictions[ks[0]] if np.ndim(k) == 0 else predictions


@overload
def knn_accuracy(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    *,
    k: int = ...,
    temperature: float = ...,
) -> float: ...


@overload
def knn_accuracy(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    *,
    k: Sequence[int],
    temperature: float = ...,
) -> dict[int, float]: ...


def knn_accuracy(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    *,
    k: int | Sequence[int] = 200,
    temperature: float = 0.07,
) -> float | dict[int, float]:
    """Accuracy of `knn_predict` on labelled test samples.

    Args:
        train_features: float array (N, D).
        train_labels: integer array (N,), class indices from 0.
        test_features: float array (M, D).
        test_labels: integer array (M,). A class that the training samples lack
            counts as an error of the prediction.
        k: positive int, at most N; or several, evaluated in one pass.
        temperature: positive float.

    Returns:
        Fraction of right predictions, a float in [0, 1]; where `k` is a
        sequence, a dict from each k to its accuracy.

    Raises:
        TypeError: `k` or the labels are not integers.
        ValueError: as `knn_predict`, and for missing test labels.

    Example:
    ```python
    knn_accuracy(train_x, train_y, test_x, test_y, k=(20, 200))
    # {20: 0.612, 200: 0.598}
    ```

    Source: Wu et al., arXiv 1805.01978, section 3.4.
    """
    test_labels = check_labels("test_labels", test_labels, len(test_features))
    predictions = knn_predict(
        train_features,
        train_labels,
        test_features,
        k=k,
        temperature=temperature,
    )
    if isinstance(predictions, dict):
        return {
            n: float(np.mean(p == test_labels)) for n, p in predictions.items()
        }
    return float(np.mean(predictions == test_labels))


def check_k(k: int | Sequence[int], samples: int) -> list[int]:
    """Return one or several k, each from 1 to `samples`, as a list of int."""
    ks = [k] if np.ndim(k) == 0 else list(k)
    if not ks:
        raise ValueError(f"k must hold at least one value; received {k!r}")
    for n in ks:
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
            raise TypeError(
                f"k must be int or a sequence of int; received {n!r}"
            )
        if not 1 <= n <= samples:
            raise ValueError(
                f"k must be between 1 and the {samples} training samples; "
                f"received {n}"
            )
    return [int(n) for n in ks]


def check_temperature(temperature: float) -> None:
    """Refuse a temperature of the votes that is not positive."""
    if not temperature > 0:
        raise ValueError(
            f"temperature must be positive; received {temperature}"
        )


def unit_columns(vectors: np.ndarray):
    """Return vectors (N, D) of norm one, as columns: a tensor (D, N)."""
    return ops.transpose(ops.convert_to_tensor(unit_norm(vectors)))


class Nearest:
    """The nearest of vectors that come block by block, and their votes.

    Queries are (M, D), of any scale; of equals the first that came is kept.
    """

    def __init__(self, queries: np.ndarray, count: int):
        self._queries = unit_norm(queries)
        self._count = count
        self._values = self._labels = None

    def add(self, columns, labels: np.ndarray) -> None:
        """Take in N vectors, a tensor (D, N), and their labels (N,)."""
        rows = max(1, _CHUNK_ELEMENTS // len(labels))
        count = min(self._count, len(labels))
        parts = []
        for start in range(0, len(self._queries), rows):
            part = slice(start, start + rows)
            values, found = nearest_rows(self._queries[part], columns, count)
            parts.append(self._merged(part, values, labels[found]))
        values, labels = zip(*parts, strict=True)
        self._values, self._labels = map(np.concatenate, (values, labels))

    def _merged(self, part, values, labels):
        if self._values is None:
            return values, labels
        values = np.hstack([self._values[part], values])
        labels = np.hstack([self._labels[part], labels])
        values, rows = ops.top_k(values, min(self._count, values.shape[1]))
        rows = ops.convert_to_numpy(rows)
        return ops.convert_to_numpy(values), np.take_along_axis(labels, rows, 1)

    def vote(
        self, ks: Sequence[int], temperature: float, classes: int
    ) -> dict[int, np.ndarray]:
        """Return the predicted classes, int64 (M,), by number of voters."""
        found = {k: np.empty(len(self._queries), "int64") for k in ks}
        rows = max(1, _CHUNK_ELEMENTS // max(classes, self._count))
        for start in range(0, len(self._queries), rows):
            part = slice(start, start + rows)
            values, labels = self._values[part], self._labels[part]
            # Relative to the nearest one, which changes no vote's rank: exp(1
            # / temperature) overflows float32 below a temperature of 0.012.
            weights = np.exp((values - values[:, :1]) / temperature)
            for k in ks:
                votes = _count(labels[:, :k], weights[:, :k], classes)
                found[k][part] = votes.argmax(1)
        return found


def nearest_rows(queries, train, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return products and rows, (M, count), of the nearest columns (D, N)."""
    with _full_float32():
        products = ops.matmul(queries, train)
    # Of equals the first row.
    values, rows = ops.top_k(products, count)
    return ops.convert_to_numpy(values), ops.convert_to_numpy(rows)


def _full_float32():
    """The context in which the backend multiplies in float32."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.default_matmul_precision("highest")
    from minc_tf.evaluation.protocols.float32 import full_float32

    return full_float32()


def _count(voted, weights, classes):
    rows = np.arange(len(voted))[:, None] * classes
    votes = np.bincount(
        (rows + voted).ravel(), weights.ravel(), len(voted) * classes
    )
    return votes.reshape(len(voted), classes)
