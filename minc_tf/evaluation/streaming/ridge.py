"""The ridge classifier of vectors in tables, from their moments."""

from collections.abc import Sequence

import numpy as np

from minc_tf.evaluation.checks import check_held_out, check_l2
from minc_tf.evaluation.protocols.float32 import matmul
from minc_tf.evaluation.protocols.ridge import L2_GRID, solve_ridge
from minc_tf.evaluation.streaming.moments import Moments
from minc_tf.evaluation.streaming.samples import (
    AnyVectors,
    Samples,
    check_samples,
)


def stream_ridge(
    train: AnyVectors | Samples,
    test: AnyVectors | Samples,
    *,
    l2: float | Sequence[float] = L2_GRID,
    held_out: float = 0.1,
    seed: int = 0,
) -> dict[str, float]:
    """`ridge_accuracy` of vectors in tables, a block in memory at a time.

    Of the training vectors moments are added up, which give the solution; the
    tables are read three times, those of the test vectors twice.

    Args:
        train: labelled vectors, as `Vectors` or the path, paths or glob of
            what it reads.
        test: labelled vectors of the same length.
        l2: positive float, or a sequence to choose from on the held-out part.
        held_out: float in (0, 1), the part of the training samples that
            chooses `l2`: the same rows as in `ridge_accuracy`.
        seed: int, seed of the held-out part.

    Returns:
        Dict, as `ridge_accuracy`.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: as `ridge_accuracy` and `Vectors`, and for tables of
            different models.

    Example:
    ```python
    minc_tf.evaluation.stream_ridge("train.parquet", "test.parquet")
    # {'accuracy': 0.617, 'l2': 0.01, 'held_out_accuracy': 0.621}
    ```
    """
    grid = check_l2(l2)
    check_held_out(held_out)
    train, test = check_samples(train, test)
    moments = Moments(train.dimension, train.classes)
    found = {"l2": grid[0]}
    if len(grid) > 1:
        kept, held = train.split(held_out, seed)
        classifiers = ridge_classifiers(moments.add_all(kept.blocks()), grid)
        right = np.zeros(len(grid))
        for x, y in held.blocks():
            right += [np.count_nonzero(c(x) == y) for c in classifiers]
            moments.add(x, y)
        accuracies = right / len(held)
        best = int(np.argmax(accuracies))
        found["l2"] = grid[best]
        found["held_out_accuracy"] = float(accuracies[best])
    else:
        moments.add_all(train.blocks())
    (classifier,) = ridge_classifiers(moments, [found["l2"]])
    return {"accuracy": test.accuracy(classifier), **found}


class RidgeClassifier:
    """The class of the largest of `x W + b`, W (D, C), x standardised."""

    def __init__(self, scaler, weights, bias):
        self._scaler = scaler
        self.weights = weights.astype("float32")
        self.bias = bias.astype("float32")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Predict the class of each of the features, float32 (M, D)."""
        return (matmul(self._scaler(x), self.weights) + self.bias).argmax(1)


def ridge_classifiers(
    moments: Moments, l2: Sequence[float]
) -> list[RidgeClassifier]:
    """Return the solution for each strength of the penalty."""
    scaler, bias = moments.scaler(), moments.shares()
    solutions = solve_ridge(moments.covariance(), moments.correlation(), l2)
    return [RidgeClassifier(scaler, w, bias) for w in solutions]
