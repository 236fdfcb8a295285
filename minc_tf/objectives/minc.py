"""MINC: mutual information, non-contrastive (arXiv 2504.16667).

The formulas are functions of embeddings `z1`, `z2` of shape (B, d) and of the
second moment Lambda of shape (d, d); the class holds Lambda and updates it.
"""

import keras
from keras import ops

from minc_tf.objectives import replicas
from minc_tf.objectives.base import OBJECTIVES, PACKAGE, Objective
from minc_tf.objectives.batch import normalise_weights
from minc_tf.objectives.checks import (
    check_bool,
    check_choice,
    check_mu,
    check_positive_int,
    is_number,
)
from minc_tf.objectives.norms import clip_norm

_TINY = 1e-30


def second_moment(z1, z2, weights=None):
    """Second moment of both views: `C = E[phi phi^T]`.

    Args:
        z1: float tensor (B, d).
        z2: float tensor (B, d).
        weights: optional tensor (B, 1) of pair weights that sum to one.

    Returns:
        Tensor (d, d), `(z1^T z1 + z2^T z2) / (2B)` without weights.
    """
    if weights is None:
        weights = 1.0 / ops.cast(ops.shape(z1)[0], z1.dtype)
    total = ops.matmul(ops.transpose(z1), weights * z1)
    total = total + ops.matmul(ops.transpose(z2), weights * z2)
    return total / 2.0


def innovation_gain(moment, previous, fourth_moment, batch_size, floor):
    """Rate of the second moment's update: a scalar Kalman gain with a floor.

    Large where the batch's moment differs from the running one by more than
    sampling explains, small where the difference is noise.

    Args:
        moment: tensor (d, d), second moment C of the batch.
        previous: tensor (d, d), the running second moment Lambda.
        fourth_moment: scalar, mean over the batch of `||z||^4`.
        batch_size: scalar, (effective) number of pairs in the batch.
        floor: float in [0, 1], the smallest rate.

    Returns:
        Scalar tensor `clip(1 - R / S, floor, 1)` with the innovation
        `S = ||C - Lambda||_F^2` and the sampling variance
        `R = (mean ||z||^4 - ||C||_F^2) / B` of C.
    """
    innovation = ops.sum(ops.square(moment - previous))
    variance = (fourth_moment - ops.sum(ops.square(moment))) / batch_size
    # R is a variance; rounding can make it slightly negative.
    ratio = ops.maximum(variance, 0.0) / ops.maximum(innovation, _TINY)
    return ops.clip(1.0 - ratio, floor, 1.0)


def negative_objective(z1, z2, second_moment, weights=None):
    """Value of the loss, `-J = -2 E[z1.z2] + E[z^T Lambda z]`.

    Args:
        z1: float tensor (B, d).
        z2: float tensor (B, d).
        second_moment: tensor (d, d), Lambda in full.
        weights: optional tensor (B, 1) of pair weights that sum to one.

    Returns:
        Scalar tensor.

    Source: arXiv 2504.16667, eq. (5), averaged over both views.
    """
    repulsion = z1 * ops.matmul(z1, second_moment)
    repulsion = repulsion + z2 * ops.matmul(z2, second_moment)
    pairs = ops.sum(repulsion / 2.0 - 2.0 * z1 * z2, axis=-1, keepdims=True)
    return ops.mean(pairs) if weights is None else ops.sum(weights * pairs)


def surrogate(z1, z2, repulsion, weights=None):
    """A function whose gradient is MINC's.

    With M the `repulsion` matrix, `d/dz1 = (2/B) (-z2 + z1 M^T)` and the same
    with the views exchanged. Only the gradient means something: the value is
    not the objective.

    Args:
        z1: float tensor (B, d).
        z2: float tensor (B, d).
        repulsion: tensor (d, d): Lambda, or its lower triangle, diagonal
            included, for the generalised Hebbian form.
        weights: optional tensor (B, 1) of pair weights that sum to one.

    Returns:
        Scalar tensor.
    """
    # Differentiating z^T M z through both z is another, wrong, fixed point.
    held = ops.transpose(ops.stop_gradient(repulsion))
    pushed = z1 * ops.stop_gradient(ops.matmul(z1, held))
    pushed = pushed + z2 * ops.stop_gradient(ops.matmul(z2, held))
    pairs = 2.0 * ops.sum(pushed - z1 * z2, axis=-1, keepdims=True)
    return ops.mean(pairs) if weights is None else ops.sum(weights * pairs)


def _fourth_moment(z1, z2, weights):
    """Mean of `||z||^4` over both views."""
    pairs = ops.square(ops.sum(ops.square(z1), axis=-1, keepdims=True))
    pairs = pairs + ops.square(ops.sum(ops.square(z2), axis=-1, keepdims=True))
    mean = ops.mean(pairs) if weights is None else ops.sum(weights * pairs)
    return mean / 2.0


@OBJECTIVES.register("minc")
@keras.saving.register_keras_serializable(package=PACKAGE)
class MINC(Objective):
    """Mutual-information, non-contrastive loss.

    The spectral contrastive objective with its double expectation replaced by
    a running second moment `Lambda = E[phi phi^T]`, held outside the gradient:

        J = 2 E[phi(x).phi(x')] - E[phi(x)^T Lambda phi(x)]

    No two images of a batch are compared: a step costs O(B d^2), the state is
    (d, d). At the optimum `phi_i = sqrt(lambda_i) u_i` for the leading
    eigenpairs of the augmentation graph, with value `sum lambda_i^2`; the
    loss is `-J` (with the full Lambda, whatever the form of the gradient).

    Args:
        dim: int, the dimension d of the embeddings.
        rate: `"adaptive"` (a scalar Kalman gain, `innovation_gain`) or a float
            in (0, 1]: `Lambda <- (1 - rate) Lambda + rate C`, the paper's
            form. The first batch sets `Lambda = C`.
        floor: float in [0, 1], the smallest adaptive rate; unused with a
            float `rate`.
        triangular: bool. True (generalised Hebbian form, the paper's): the
            gradient sees the lower triangle of Lambda, and coordinate i
            converges to eigenfunction i. False: the full Lambda; the same
            subspace, rotated; `rotation()` recovers the order.
        order: `"update_first"` (a step updates Lambda and uses the result) or
            `"read_first"` (it uses the Lambda it found: the loss is then a sum
            over samples, at the price of a lag of one step).
        mu: float, the largest squared norm of an embedding (`clip_norm`), or
            None for no bound, which the theory assumes.
        name: string, the layer's name.

    Attributes:
        second_moment: the (d, d) float32 non-trainable variable Lambda. A
            batch that is not finite never enters it.

    Raises:
        ValueError: for an argument out of range, for embeddings that are not
            (B, dim), or for two embeddings of different shapes.

    Example:
    ```python
    import keras, minc_tf

    objective = minc_tf.objectives.MINC(dim=16)
    z1 = keras.random.normal((32, 16), seed=0)
    z2 = z1 + 0.1 * keras.random.normal((32, 16), seed=1)
    loss = objective(z1, z2, training=True)  # updates the second moment
    print(float(loss), float(objective.metrics()["rate"]))
    ```

    Source: Guo, Avila Pires, Khetarpal, Schuurmans, Dai, "Representation
    learning via non-contrastive mutual information", arXiv 2504.16667, eq. (5)
    and the Sanger form; the adaptive rate is this project's (docs/minc.md).
    """

    takes_sample_weight = True

    def __init__(
        self,
        dim: int,
        *,
        rate: str | float = "adaptive",
        floor: float = 0.3,
        triangular: bool = True,
        order: str = "update_first",
        mu: float | None = None,
        name: str | None = None,
    ):
        """See the class."""
        super().__init__(name=name)
        _check_arguments(dim, rate, floor, triangular, order, mu)
        self.dim = dim
        self.rate = rate
        self.floor = floor
        self.triangular = triangular
        self.order = order
        self.mu = mu
        self.second_moment = None

    def build(self, z1_shape, z2_shape=None):
        """Creates Lambda and the flag that tells whether it was ever set."""
        if z1_shape[-1] is not None and z1_shape[-1] != self.dim:
            raise ValueError(
                f"MINC: dim={self.dim}, but the embeddings have "
                f"{z1_shape[-1]} dimensions (shape {tuple(z1_shape)}); pass "
                f"dim={z1_shape[-1]}."
            )
        super().build(z1_shape, z2_shape)
        self.second_moment = self._add_state(
            "second_moment", shape=(self.dim, self.dim)
        )
        self._initialized = self._add_state("initialized")
        self._last_rate = self._add_state("last_rate", initializer="ones")

    def compute(self, z1, z2, training, sample_weight):
        """Updates Lambda if training; returns `-J` with MINC's gradient."""
        z1, z2 = clip_norm(z1, self.mu), clip_norm(z2, self.mu)
        weights = normalise_weights(sample_weight)
        if weights is not None:
            weights = weights[:, None]
        held1, held2 = ops.stop_gradient(z1), ops.stop_gradient(z2)

        moment = second_moment(held1, held2, weights)
        fourth = _fourth_moment(held1, held2, weights)
        moment, fourth = replicas.mean((moment, fourth))
        found = ops.where(
            self._initialized > 0,
            ops.convert_to_tensor(self.second_moment),
            moment,
        )
        used = found
        if training:
            pairs = _effective_batch(z1, weights)
            updated = self._update(found, moment, fourth, pairs)
            if self.order == "update_first":
                used = updated

        value = negative_objective(held1, held2, used, weights)
        repulsion = ops.tril(used) if self.triangular else used
        gradient = surrogate(z1, z2, repulsion, weights)
        # x - stop_gradient(x) is exactly zero and has the gradient of x.
        return value + (gradient - ops.stop_gradient(gradient))

    def _update(self, found, moment, fourth, pairs):
        """Moves Lambda towards the batch's moment and returns it."""
        if self.rate == "adaptive":
            gain = innovation_gain(moment, found, fourth, pairs, self.floor)
            # On the first batch `found` is the batch's own moment.
            gain = ops.where(self._initialized > 0, gain, 1.0)
        else:
            gain = ops.convert_to_tensor(self.rate, dtype="float32")
        updated = found + gain * (moment - found)
        # One overflowing batch (float16) would otherwise stay for ever.
        finite = ops.all(ops.isfinite(updated))
        updated = ops.where(finite, updated, found)
        self.second_moment.assign(
            ops.where(
                finite, updated, ops.convert_to_tensor(self.second_moment)
            )
        )
        self._initialized.assign(
            ops.where(finite, 1.0, ops.convert_to_tensor(self._initialized))
        )
        self._last_rate.assign(ops.where(finite, gain, 0.0))
        return updated

    def scalars(self, loss) -> dict:
        """Returns the metrics of a step.

        Args:
            loss: scalar, the loss of the step.

        Returns:
            dict of scalar tensors: `chi2_information` (`-loss - 1`, in the
            limit of good estimates a lower bound of the chi-square mutual
            information of the views), `effective_rank` (`tr(Lambda)^2 /
            ||Lambda||_F^2`, the number of equal eigenvalues with the same
            spread), `rate` and `second_moment_trace`.
        """
        second_moment = ops.convert_to_tensor(self.second_moment)
        trace = ops.trace(second_moment)
        squares = ops.sum(ops.square(second_moment))
        return {
            "chi2_information": -loss - 1.0,
            "effective_rank": ops.square(trace) / ops.maximum(squares, _TINY),
            "rate": ops.convert_to_tensor(self._last_rate),
            "second_moment_trace": trace,
        }

    def eigenvalues(self):
        """Estimates of the leading eigenvalues, largest first.

        Returns:
            Tensor (d,): the diagonal of Lambda, in the order of the
            coordinates, in the triangular form; the eigenvalues of Lambda,
            descending, in the full form.
        """
        self._check_built("eigenvalues()")
        second_moment = ops.convert_to_tensor(self.second_moment)
        if self.triangular:
            return ops.diagonal(second_moment)
        return ops.flip(ops.linalg.eigh(second_moment)[0])

    def rotation(self):
        """The rotation R that orders the coordinates: `z @ R`.

        At the optimum of the full form `Lambda = R diag(lambda) R^T`, so the
        columns of R are the eigenvectors of Lambda, largest eigenvalue first;
        each is signed so that its largest entry is positive.

        Returns:
            Tensor (d, d), orthogonal.
        """
        self._check_built("rotation()")
        vectors = ops.linalg.eigh(ops.convert_to_tensor(self.second_moment))[1]
        vectors = ops.flip(vectors, axis=-1)
        largest = ops.argmax(ops.abs(vectors), axis=0)
        picked = ops.take_along_axis(vectors, largest[None, :], axis=0)
        return vectors * ops.where(picked < 0, -1.0, 1.0)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "dim": self.dim,
            "rate": self.rate,
            "floor": self.floor,
            "triangular": self.triangular,
            "order": self.order,
            "mu": self.mu,
        }

    def _check_pair(self, z1, z2):
        super()._check_pair(z1, z2)
        if z1.shape[-1] is not None and z1.shape[-1] != self.dim:
            raise ValueError(
                f"MINC: dim={self.dim}, but the embeddings have "
                f"{z1.shape[-1]} dimensions (shape {tuple(z1.shape)}); pass "
                f"dim={z1.shape[-1]}."
            )

    def _check_built(self, caller):
        if self.second_moment is None:
            raise ValueError(
                f"MINC.{caller}: the second moment does not exist yet; call "
                "the objective on a pair of embeddings first."
            )


def _effective_batch(z, weights):
    """Number of pairs, or Kish's effective number, of the global batch."""
    if weights is None:
        return ops.cast(ops.shape(z)[0] * replicas.count(), "float32")
    squares = replicas.mean(ops.sum(ops.square(weights)))
    return replicas.count() / ops.maximum(squares, _TINY)


def _check_arguments(dim, rate, floor, triangular, order, mu):
    check_positive_int("MINC", dim=dim)
    if rate != "adaptive" and not (is_number(rate) and 0.0 < rate <= 1.0):
        raise ValueError(
            'MINC: rate must be "adaptive" or a float in (0, 1]; received '
            f"{rate!r}."
        )
    if not (is_number(floor) and 0.0 <= floor <= 1.0):
        raise ValueError(f"MINC: floor must be in [0, 1]; received {floor!r}.")
    check_bool("MINC", triangular=triangular)
    check_choice("MINC", ("update_first", "read_first"), order=order)
    check_mu("MINC", mu)
