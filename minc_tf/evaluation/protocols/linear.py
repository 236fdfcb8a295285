"""Linear probe: multinomial logistic regression on frozen features."""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf
from scipy import optimize

from minc_tf.diagnostics.vectors import check_features
from minc_tf.evaluation.checks import (
    check_held_out,
    check_l2,
    check_test,
    check_training,
)
from minc_tf.evaluation.protocols.float32 import eigh, full_float32, matmul
from minc_tf.evaluation.protocols.standardize import (
    Standardizer,
)
from minc_tf.evaluation.protocols.subsets import hold_out

#: Strengths of the penalty that are tried.
L2_GRID = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def softmax_regression_loss(
    weights: np.ndarray,
    bias: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    l2: float,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the loss of logistic regression and its two gradients.

    `mean_n(-log softmax(x_n W + b)[y_n]) + l2 / 2 ||W||^2`, W (D, C), b (C,);
    scikit-learn's `C` is `1 / (l2 N)`. Source: Bishop, PRML, eq. 4.108-4.109.
    """
    log_p = tf.nn.log_softmax(tf.matmul(x, weights) + bias)
    # Single precision sums N terms to a few digits only.
    picked = tf.cast(tf.gather(log_p, y, batch_dims=1), "float64")
    loss = 0.5 * l2 * np.sum(np.square(weights, dtype="float64"))
    loss -= float(tf.reduce_mean(picked))
    error = tf.exp(log_p) - tf.one_hot(y, log_p.shape[1], dtype=log_p.dtype)
    error /= len(y)
    dw = tf.matmul(x, error, transpose_a=True).numpy() + l2 * weights
    return loss, dw, tf.reduce_sum(error, 0).numpy()


@dataclasses.dataclass(frozen=True)
class Problem:
    """A logistic regression on standardised samples, in principal axes.

    `curvature` (D,) are the variances, ascending, along the columns of `axes`;
    `loss` is `softmax_regression_loss` of weights along them, a bias and `l2`.
    """

    scaler: Standardizer
    curvature: np.ndarray
    axes: np.ndarray
    loss: Callable[
        [np.ndarray, np.ndarray, float], tuple[float, np.ndarray, np.ndarray]
    ]


class ProbeSamples(Protocol):
    """What a `LinearProbe` is fitted to."""

    def split(
        self, part: float, seed: int
    ) -> tuple["ProbeSamples", "ProbeSamples"]:
        """Hold a part out: those kept, and those held out."""

    def problem(self) -> Problem:
        """Return what is to be solved."""

    def accuracy(self, predict: Callable[[np.ndarray], np.ndarray]) -> float:
        """Return the share of the samples whose label `predict` finds."""


class ArraySamples:
    """Samples in memory, float32 (N, D) and int64 (N,), as `ProbeSamples`."""

    def __init__(self, x: np.ndarray, y: np.ndarray):
        self._x, self._y = x, y

    def split(
        self, part: float, seed: int
    ) -> tuple["ArraySamples", "ArraySamples"]:
        """Hold a part out: those kept, and those held out."""
        kept, held = (
            ArraySamples(self._x[rows], self._y[rows])
            for rows in hold_out(len(self._x), part, seed)
        )
        return kept, held

    def problem(self) -> Problem:
        """Return what is to be solved, with the samples turned."""
        scaler = Standardizer(self._x)
        x = scaler(self._x)
        covariance = matmul(x, x, transpose_a=True) / np.float32(len(x))
        curvature, axes = eigh(covariance)
        # The penalty is blind to a rotation, so the axes may be turned.
        x, y = tf.constant(matmul(x, axes)), tf.constant(self._y)

        def loss(weights, bias, l2):
            return softmax_regression_loss(weights, bias, x, y, l2)

        return Problem(scaler, curvature, axes, loss)

    def accuracy(self, predict: Callable[[np.ndarray], np.ndarray]) -> float:
        """Return the share of the samples whose label `predict` finds."""
        return float(np.mean(predict(self._x) == self._y))


class LinearProbe:
    """Multinomial logistic regression, the standard linear evaluation.

    Features are standardised with the training statistics. The strength of the
    L2 penalty is chosen by the accuracy on a held-out part of the training
    samples; then the classifier is fitted to all of them. Fitting is by
    L-BFGS in the principal axes of the features, each scaled by its curvature:
    the same problem, solved in far fewer steps.

    Args:
        l2: positive float, or a sequence to choose from (penalty
            `l2 / 2 ||W||^2` beside the mean cross-entropy).
        held_out: float in (0, 1), the part of the training samples that
            chooses `l2`. Unused where `l2` is one value.
        seed: int, seed of the held-out part.
        max_iterations: positive int, limit of one L-BFGS run; a warning tells
            when the final run reaches it.

    Attributes (after `fit`):
        weights: float32 array (D, C), of the standardised features.
        bias: float32 array (C,).
        l2: float, the strength chosen.
        held_out_accuracy: float in [0, 1] on the held-out part; `None` where
            `l2` was one value.
        iterations: int, of the final run.

    Raises:
        ValueError: an argument out of range.

    Example:
    ```python
    probe = minc_tf.evaluation.LinearProbe().fit(train_x, train_y)
    accuracy = np.mean(probe.predict(test_x) == test_y)
    ```

    Source: the protocol of Kornblith et al., "Do Better ImageNet Models
    Transfer Better?", arXiv 1805.08974, appendix.
    """

    def __init__(
        self,
        *,
        l2: float | Sequence[float] = L2_GRID,
        held_out: float = 0.1,
        seed: int = 0,
        max_iterations: int = 1000,
    ) -> None:
        self.l2_grid = check_l2(l2)
        self.held_out = check_held_out(held_out)
        self.seed = seed
        self.max_iterations = max_iterations

    def fit(self, x: np.ndarray, y: np.ndarray) -> "LinearProbe":
        """Choose the strength of the penalty and fit the classifier.

        Args:
            x: float array (N, D), training features.
            y: integer array (N,), class indices from 0.

        Returns:
            The probe itself.

        Raises:
            TypeError: the labels are not integers.
            ValueError: features that are not finite, labels that are missing
                or all the same, too few samples to hold some out.

        Example:
        ```python
        probe = LinearProbe(l2=1e-3).fit(train_x, train_y)
        ```
        """
        x, y, classes = check_training(x, y)
        return self.fit_samples(ArraySamples(x, y), classes)

    def fit_samples(
        self, samples: "ProbeSamples", classes: int
    ) -> "LinearProbe":
        """Do the same with samples that are checked; see `ProbeSamples`."""
        self.held_out_accuracy = None
        self.l2 = self.l2_grid[0]
        if len(self.l2_grid) > 1:
            kept, held = samples.split(self.held_out, self.seed)
            self._prepare(kept, classes)
            best = -1.0
            for l2 in self.l2_grid:  # of equals the first, the strongest
                self._solve(l2)
                accuracy = held.accuracy(self.predict)
                if accuracy > best:
                    best, self.l2 = accuracy, l2
            self.held_out_accuracy = best
        self._prepare(samples, classes)
        result = self._solve(self.l2)
        self.iterations = int(result.nit)
        if self.iterations >= self.max_iterations:
            warnings.warn(
                f"LinearProbe stopped after max_iterations={self.iterations}; "
                "raise it, or l2",
                stacklevel=3,
            )
        del self._problem
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predict the most likely class of each sample.

        Args:
            x: float array (M, D).

        Returns:
            int64 array (M,).

        Raises:
            ValueError: the probe is not fitted, or `x` does not fit it.

        Example:
        ```python
        labels = probe.predict(test_x)
        ```
        """
        if not hasattr(self, "weights"):
            raise ValueError("LinearProbe must be fitted before predict")
        x = check_features("x", x, len(self.weights))
        logits = matmul(self._scaler(x), self.weights) + self.bias
        return logits.argmax(1)

    def results(self, accuracy: float) -> dict[str, float]:
        """Put an accuracy together with what was chosen."""
        found = {
            "accuracy": accuracy,
            "l2": float(self.l2),
            "iterations": float(self.iterations),
        }
        if self.held_out_accuracy is not None:
            found["held_out_accuracy"] = self.held_out_accuracy
        return found

    def _prepare(self, samples, classes):
        self._problem = samples.problem()
        self._scaler = self._problem.scaler
        self._start = np.zeros((len(self._problem.axes) + 1, classes))

    def _solve(self, l2):
        curvature, axes = self._problem.curvature, self._problem.axes
        shape = self._start.shape
        # Diagonal of the Hessian where all classes are equally likely.
        scale = 1 / np.sqrt(curvature / shape[1] + l2)
        scale = np.append(scale, np.sqrt(shape[1]))[:, None]

        def loss(flat):
            solution = (flat.reshape(shape) * scale).astype("float32")
            value, dw, db = self._problem.loss(solution[:-1], solution[-1], l2)
            return value, (np.vstack([dw, db]) * scale).ravel()

        with full_float32():
            result = optimize.minimize(
                loss,
                (self._start / scale).ravel(),
                jac=True,
                method="L-BFGS-B",
                options={
                    "maxiter": self.max_iterations,
                    "maxcor": 20,
                    "gtol": 1e-5,
                    "ftol": 1e-9,
                },
            )
        # Each strength starts at the solution of the one before.
        self._start = result.x.reshape(shape) * scale
        solution = self._start.astype("float32")
        self.weights = matmul(axes, solution[:-1])
        self.bias = solution[-1]
        return result


def linear_accuracy(
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    *,
    l2: float | Sequence[float] = L2_GRID,
    held_out: float = 0.1,
    seed: int = 0,
) -> dict[str, float]:
    """Test accuracy of a `LinearProbe`; the test samples are used once.

    Args:
        train_x: float array (N, D).
        train_y: integer array (N,), class indices from 0.
        test_x: float array (M, D).
        test_y: integer array (M,). A class that the training samples lack
            counts as an error of the prediction.
        l2: positive float, or a sequence to choose from.
        held_out: float in (0, 1), the part of the training samples that
            chooses `l2`.
        seed: int, seed of the held-out part.

    Returns:
        Dict of floats: `accuracy` in [0, 1], `l2`, `iterations` and, where
        there was a choice, `held_out_accuracy`.

    Raises:
        TypeError: labels are not integers.
        ValueError: as `LinearProbe.fit`, and for missing test labels.

    Example:
    ```python
    linear_accuracy(train_x, train_y, test_x, test_y)["accuracy"]  # 0.641
    ```

    Source: arXiv 1805.08974, as `LinearProbe`.
    """
    train_x = check_features("train_x", train_x)
    test_x, test_y = check_test(test_x, test_y, train_x.shape[1])
    probe = LinearProbe(l2=l2, held_out=held_out, seed=seed)
    probe.fit(train_x, train_y)
    return probe.results(float(np.mean(probe.predict(test_x) == test_y)))
