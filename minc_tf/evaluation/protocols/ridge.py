"""Ridge classifier on frozen features, in closed form."""

from collections.abc import Sequence

import numpy as np

from minc_tf.evaluation.checks import (
    check_held_out,
    check_l2,
    check_test,
    check_training,
)
from minc_tf.evaluation.protocols.float32 import eigh, matmul
from minc_tf.evaluation.protocols.standardize import (
    Standardizer,
)
from minc_tf.evaluation.protocols.subsets import hold_out

#: Strengths of the penalty that are tried.
L2_GRID = (1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4)


def ridge_accuracy(
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    *,
    l2: float | Sequence[float] = L2_GRID,
    held_out: float = 0.1,
    seed: int = 0,
) -> dict[str, float]:
    """Test accuracy of least squares to one-hot targets, in closed form.

    Minimises `mean_n ||x_n W + b - onehot(y_n)||^2 + l2 ||W||^2` on
    standardised features. Cheap enough to be a monitor.

    Args:
        train_x: float array (N, D).
        train_y: integer array (N,), class indices from 0.
        test_x: float array (M, D).
        test_y: integer array (M,).
        l2: positive float, or a sequence to choose from on the held-out part.
        held_out: float in (0, 1), the part of the training samples that
            chooses `l2`.
        seed: int, seed of the held-out part.

    Returns:
        Dict of floats: `accuracy` in [0, 1], `l2` and, where there was a
        choice, `held_out_accuracy`.

    Raises:
        TypeError: labels are not integers.
        ValueError: as `linear_accuracy`.

    Example:
    ```python
    ridge_accuracy(train_x, train_y, test_x, test_y)["accuracy"]  # 0.617
    ```

    Source: the few-shot evaluator of Beyer et al., big_vision,
    https://github.com/google-research/big_vision.
    """
    grid = check_l2(l2)
    check_held_out(held_out)
    train_x, train_y, classes = check_training(train_x, train_y, "train_")
    test_x, test_y = check_test(test_x, test_y, train_x.shape[1])
    found = {"l2": grid[0]}
    if len(grid) > 1:
        kept, held = hold_out(len(train_x), held_out, seed)
        predictions = _ridge_predict(
            train_x[kept], train_y[kept], train_x[held], classes, grid
        )
        accuracies = [float(np.mean(p == train_y[held])) for p in predictions]
        best = int(np.argmax(accuracies))
        found = {"l2": grid[best], "held_out_accuracy": accuracies[best]}
    (prediction,) = _ridge_predict(
        train_x, train_y, test_x, classes, [found["l2"]]
    )
    return {"accuracy": float(np.mean(prediction == test_y)), **found}


# scikit-learn's RidgeClassifierCV decomposes once for each fit and fold; here
# one decomposition serves all strengths, on the GPU where there is one.
def ridge_weights(
    x: np.ndarray, y: np.ndarray, classes: int, l2: Sequence[float]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return `(W, b)`, (D, C) and (C,), for each `l2`; x (N, D) has mean 0.

    Source: Bishop, Pattern Recognition and Machine Learning, eq. 3.28.
    """
    targets = np.eye(classes, dtype=x.dtype)[y]
    bias = targets.mean(0)
    count = x.dtype.type(len(x))
    covariance = matmul(x, x, transpose_a=True) / count
    correlation = matmul(x, targets, transpose_a=True) / count
    return [(w, bias) for w in solve_ridge(covariance, correlation, l2)]


def solve_ridge(
    covariance: np.ndarray, correlation: np.ndarray, l2: Sequence[float]
) -> list[np.ndarray]:
    """Return `(covariance + l2 I)^-1 correlation`, (D, C), for each `l2`."""
    spectrum, axes = eigh(covariance)
    projected = matmul(axes, correlation, transpose_a=True)
    return [matmul(axes, projected / (spectrum + s)[:, None]) for s in l2]


def _ridge_predict(train_x, train_y, x, classes, grid):
    scaler = Standardizer(train_x)
    x = scaler(x)
    solutions = ridge_weights(scaler(train_x), train_y, classes, grid)
    return [(matmul(x, w) + b).argmax(1) for w, b in solutions]
