"""The linear probe of vectors in tables, by passes over them."""

from collections.abc import Sequence

import numpy as np

from minc_tf.evaluation.protocols.float32 import eigh, matmul
from minc_tf.evaluation.protocols.linear import (
    L2_GRID,
    LinearProbe,
    Problem,
    softmax_regression_loss,
)
from minc_tf.evaluation.streaming.moments import Moments
from minc_tf.evaluation.streaming.samples import (
    AnyVectors,
    Samples,
    check_samples,
)


def stream_linear(
    train: AnyVectors | Samples,
    test: AnyVectors | Samples,
    *,
    l2: float | Sequence[float] = L2_GRID,
    held_out: float = 0.1,
    seed: int = 0,
) -> dict[str, float]:
    """`linear_accuracy` of vectors in tables, a block in memory at a time.

    The same `LinearProbe`: each step of its L-BFGS is a pass over the training
    vectors, which adds up the loss and its gradient; there are tens of steps
    for each strength of the penalty.

    Args:
        train: labelled vectors, as `Vectors` or the path, paths or glob of
            what it reads.
        test: labelled vectors of the same length.
        l2: positive float, or a sequence to choose from on the held-out part.
        held_out: float in (0, 1), the part of the training samples that
            chooses `l2`: the same rows as in `linear_accuracy`.
        seed: int, seed of the held-out part.

    Returns:
        Dict, as `linear_accuracy`.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: as `linear_accuracy` and `Vectors`, and for tables of
            different models.

    Example:
    ```python
    minc_tf.evaluation.stream_linear("train.parquet", "test.parquet")
    # {'accuracy': 0.641, 'l2': 0.001, 'iterations': 37.0, ...}
    ```
    """
    probe = LinearProbe(l2=l2, held_out=held_out, seed=seed)
    train, test = check_samples(train, test)
    probe.fit_samples(_Passes(train), train.classes)
    return probe.results(test.accuracy(probe.predict))


class _Passes:
    """Samples in tables, as a `LinearProbe` takes them."""

    def __init__(self, samples):
        self._samples = samples
        self.accuracy = samples.accuracy

    def split(self, part, seed):
        """Hold a part out: those kept, and those held out."""
        kept, held = map(_Passes, self._samples.split(part, seed))
        return kept, held

    def problem(self) -> Problem:
        """Return what is to be solved, of which each loss is a pass."""
        samples = self._samples
        moments = Moments(samples.dimension, samples.classes)
        moments.add_all(samples.blocks())
        scaler = moments.scaler()
        curvature, axes = eigh(moments.covariance().astype("float32"))

        def loss(weights, bias, l2):
            return _loss(samples, scaler, axes, weights, bias, l2)

        return Problem(scaler, curvature, axes, loss)


def _loss(samples, scaler, axes, weights, bias, l2):
    """Loss and gradients in one pass; the weights are turned, not samples."""
    turned = matmul(axes, weights)
    loss = 0.5 * l2 * np.sum(np.square(weights, dtype="float64"))
    dw, db = np.zeros(weights.shape), np.zeros(bias.shape)
    for x, y in samples.blocks():
        found = softmax_regression_loss(turned, bias, scaler(x), y, 0.0)
        share = len(x) / len(samples)
        loss += share * found[0]
        dw += share * found[1]
        db += share * found[2]
    return loss, axes.T @ dw + l2 * weights, db
