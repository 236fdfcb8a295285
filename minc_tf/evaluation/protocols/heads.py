"""Linear classifiers that train side by side, one for each learning rate."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from minc_tf.evaluation.protocols.float32 import full_float32, matmul
from minc_tf.evaluation.protocols.learning_rates import momentum_step

OPTIMIZERS = ("sgd", "lars")
#: Standard deviation of the first weights, as MoCo's and SimSiam's codes have.
START = 0.01
_TRUST_COEFFICIENT = 0.001


class LinearHeads:
    """Softmax classifiers of the same features, each with its own rate.

    From the same weights (L, F, C) each is trained as if alone. `"sgd"` has
    Nesterov's momentum, `"lars"` no weight decay and each its own ratio.
    """

    def __init__(
        self,
        rates: Sequence[float],
        features: int,
        classes: int,
        *,
        optimizer: str = "sgd",
        seed: int = 0,
    ):
        rng = np.random.default_rng(seed)
        start = rng.normal(0, START, (features, classes)).astype("float32")
        count = len(rates)
        self.weights = tf.Variable(np.tile(start, (count, 1, 1)))
        self.bias = tf.Variable(tf.zeros((count, 1, classes)))
        self._momenta = [
            tf.Variable(tf.zeros_like(v), trainable=False)
            for v in (self.weights, self.bias)
        ]
        self._rates = tf.reshape(tf.constant(rates, tf.float32), (-1, 1, 1))
        self._lars = optimizer == "lars"

    def train(self, x, y, factor: float) -> None:
        """Take one step with all heads on float32 (B, F) and int64 (B,)."""
        with full_float32():
            self._train(x, y, tf.constant(factor, tf.float32))

    @tf.function(reduce_retracing=True)
    def _train(self, x, y, factor):
        variables = (self.weights, self.bias)
        with tf.GradientTape() as tape:
            logits = tf.einsum("bf,lfc->lbc", x, self.weights) + self.bias
            labels = tf.tile(y[None], (tf.shape(logits)[0], 1))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, logits
            )
            # A sum, so that no head sees how many there are.
            loss = tf.reduce_sum(tf.reduce_mean(losses, 1))
        slopes, offsets = tape.gradient(loss, variables)
        if self._lars:
            slopes *= trust_ratio(self.weights, slopes)
        for variable, momentum, gradient in zip(
            variables, self._momenta, (slopes, offsets), strict=True
        ):
            momentum_step(
                variable,
                momentum,
                self._rates * gradient,
                factor,
                nesterov=not self._lars,
            )

    def accuracies(self, x: np.ndarray, y: np.ndarray) -> list[float | None]:
        """Return the accuracy of each head; `None` for one that diverged."""
        found: list[float | None] = []
        for w, b in zip(self.weights.numpy(), self.bias.numpy(), strict=True):
            if np.isfinite(w).all() and np.isfinite(b).all():
                predicted = (matmul(x, w) + b).argmax(1)
                found.append(float(np.mean(predicted == y)))
            else:
                found.append(None)
        return found


def trust_ratio(weights: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """Return LARS's factor of each head, (L, 1, 1): arXiv 1708.03888, eq. 4."""
    weight_norm, gradient_norm = (
        tf.norm(t, axis=(1, 2), keepdims=True) for t in (weights, gradient)
    )
    ratio = tf.math.divide_no_nan(weight_norm, gradient_norm)
    return tf.where(ratio > 0, _TRUST_COEFFICIENT * ratio, 1.0)
