"""MINC: mutual information, non-contrastive (arXiv 2504.16667).

The class holds the second moment Lambda of shape (d, d) and updates it; the
formulas are in `minc_formulas` and `tracking`.
"""

import keras
from keras import ops

from minc_tf._types import Shape, Tensor
from minc_tf.objectives import tracking
from minc_tf.objectives.base import OBJECTIVES, PACKAGE, Objective
from minc_tf.objectives.batch import normalise_weights
from minc_tf.objectives.image_pairs import ImagePairs
from minc_tf.objectives.minc_arguments import (
    NEEDS_PREVIOUS,
    check_arguments,
    check_dim,
    present,
)
from minc_tf.objectives.minc_formulas import negative_objective, surrogate
from minc_tf.objectives.norms import clip_norm

_TINY = 1e-30


@OBJECTIVES.register("minc")
@keras.saving.register_keras_serializable(package=PACKAGE)
class MINC(Objective):
    """Mutual-information, non-contrastive loss.

    The spectral contrastive objective with its double expectation replaced by
    an estimate of the second moment `Lambda = E[phi phi^T]`, held outside the
    gradient:

        J = 2 E[phi(x).phi(x')] - E[phi(x)^T Lambda phi(x)]

    No two images of a batch are compared: a step costs O(B d^2), the state is
    (d, d). At the optimum `phi_i = sqrt(lambda_i) u_i` for the leading
    eigenpairs of the augmentation graph, with value `sum lambda_i^2`; the
    loss is `-J` (with the full Lambda, whatever the form of the gradient).

    The paper's form is `MINC(dim, tracking="mean", rate=0.1,
    self_pairs=True)`, with a rate of your choice.

    Args:
        dim: int, the dimension d of the embeddings.
        tracking: how Lambda follows a network that moves; C is the moment of a
            batch, the first of which sets `Lambda = C`. `"corrected"`: a
            running mean that is carried over to the present weights by
            `C - C'`, with C' the moment of the same batch under the weights of
            the step before (`tracking.corrected_mean`): no lag, for one more
            forward pass, which `TwoViewModel` makes. `"lead"`: level and
            trend (`tracking.double_smoothing`), without lag behind a steady
            drift. `"mean"`: a running mean, `Lambda <- (1 - a) Lambda + a C`,
            which lags. `"auto"`: corrected where a step gets `previous`
            embeddings (a `TwoViewModel` without predictor and target), lead
            where it does not (`attach`, a loop of your own).
        rate: the weight a of the newest batch: a float in (0, 1], or
            `"adaptive"`, a Kalman gain from how far a batch is from what was
            expected, beside how far sampling alone would put it
            (`tracking.innovation_gain`).
        floor: float in [0, 1], the smallest adaptive rate; unused with a
            float `rate`.
        self_pairs: bool. False: an image is repelled by the Lambda of all
            others; its own part of the batch's C is left out. True: by one
            that contains it.
        triangular: bool. True (generalised Hebbian form, the paper's): the
            gradient sees the lower triangle of Lambda, and coordinate i
            converges to eigenfunction i. False: the full Lambda; the same
            subspace, rotated; `rotation()` recovers the order.
        order: `"update_first"` (a step updates Lambda and uses the result) or
            `"read_first"` (it uses what it expects before it has seen the
            batch: the loss is then a sum over samples).
        mu: float, the largest squared norm of an embedding (`clip_norm`), or
            None for no bound, which the theory assumes: at the start the loss
            of an untrained network can then be in the thousands.
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
    and the Sanger form; `"lead"`, `"corrected"`, the adaptive rate and
    left-out self-pairs are this project's (docs/minc.md).
    """

    takes_sample_weight = True
    takes_images = True
    keeps_statistics = True

    def __init__(
        self,
        dim: int,
        *,
        tracking: str = "auto",
        rate: str | float = "adaptive",
        floor: float = 0.6,
        self_pairs: bool = False,
        triangular: bool = True,
        order: str = "update_first",
        mu: float | None = 10.0,
        name: str | None = None,
    ) -> None:
        """See the class."""
        super().__init__(name=name)
        check_arguments(
            dim, tracking, rate, floor, self_pairs, triangular, order, mu
        )
        self.dim = int(dim)
        self.tracking = tracking
        self.rate = rate
        self.floor = floor
        self.self_pairs = self_pairs
        self.triangular = triangular
        self.order = order
        self.mu = mu
        self.second_moment = None

    @property
    def takes_previous(self) -> bool:  # type: ignore[override]
        """Whether a step wants embeddings under the weights before."""
        corrects = self.tracking in ("auto", "corrected")
        return corrects and self.order == "update_first"

    @property
    def needs_previous(self) -> bool:  # type: ignore[override]
        """Whether it trains with them only."""
        return self.tracking == "corrected"

    def build(self, z1_shape: Shape, z2_shape: Shape | None = None) -> None:
        """Creates Lambda, what its tracking needs, and whether it was set."""
        check_dim(self.dim, z1_shape)
        super().build(z1_shape, z2_shape)
        self.second_moment = self._add_state(
            "second_moment", shape=(self.dim, self.dim)
        )
        if self.tracking in ("auto", "lead"):
            self._trend = self._add_state("trend", shape=(self.dim, self.dim))
        if self.tracking in ("auto", "corrected"):
            self._error = self._add_state("error")
        self._initialized = self._add_state("initialized")
        self._last_rate = self._add_state("last_rate", initializer="ones")

    def compute(
        self,
        z1: Tensor,
        z2: Tensor,
        training: bool,
        sample_weight: Tensor | None,
        pairs_per_image: int = 1,
        previous: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Updates Lambda if training; returns `-J` with MINC's gradient."""
        z1, z2 = clip_norm(z1, self.mu), clip_norm(z2, self.mu)
        weights = normalise_weights(sample_weight)
        if weights is not None:
            weights = weights[:, None]
        held = ops.stop_gradient(z1), ops.stop_gradient(z2)
        batch = ImagePairs(*held, weights, pairs_per_image)
        if training and self.needs_previous and previous is None:
            raise ValueError(f"MINC: {NEEDS_PREVIOUS}")
        before = None
        if training and previous is not None:
            before = [
                self._held_before(*each)
                for each in zip(previous, held, strict=True)
            ]
            before = ImagePairs(*before, weights, pairs_per_image)
        # Lambda, and how much of it is of these images.
        used, parts = self._track(batch, before, training)
        if self.self_pairs:
            parts = []

        value = negative_objective(*held, batch.repulsion(used, parts), weights)
        push = batch.push(used, parts, triangular=self.triangular)
        gradient = surrogate(z1, z2, *push, weights)
        # x - stop_gradient(x) is exactly zero and has the gradient of x.
        return value + (gradient - ops.stop_gradient(gradient))

    def _held_before(self, previous, now):
        """Previous embeddings; those that overflowed count as unmoved."""
        previous = clip_norm(ops.cast(previous, "float32"), self.mu)
        finite = ops.all(ops.isfinite(previous), axis=-1, keepdims=True)
        return ops.stop_gradient(ops.where(finite, previous, now))

    def _track(self, batch, before, training):
        """Moves Lambda; returns what is used of it, and this batch's part."""
        found = ops.where(
            self._initialized > 0,
            ops.convert_to_tensor(self.second_moment),
            batch.moment,
        )
        if not training:
            return found, []
        if before is not None:
            update = self._correct
        elif self.tracking == "mean":
            update = self._follow_mean
        else:
            update = self._follow_trend
        expected, updated, rate, parts, states = update(found, batch, before)
        states = [(self.second_moment, updated), *states]
        # One overflowing batch (float16) would otherwise stay for ever. Its
        # variance can overflow where its moment does not.
        finite = ops.all(
            ops.stack([ops.all(ops.isfinite(value)) for _, value in states])
        )
        updated = ops.where(finite, updated, found)
        for variable, value in [*states, (self._initialized, 1.0)]:
            old = ops.convert_to_tensor(variable)
            variable.assign(ops.where(finite, value, old))
        self._last_rate.assign(ops.where(finite, rate, 0.0))
        if self.order == "read_first":
            return expected, []
        return updated, parts

    def _follow_mean(self, found, batch, before):
        rate = self._gain(batch.moment - found, batch, self.floor)
        updated = found + rate * (batch.moment - found)
        return found, updated, rate, [(rate, batch)], []

    def _follow_trend(self, found, batch, before):
        trend = ops.convert_to_tensor(self._trend)
        if self.rate == "adaptive":
            lowest, _ = tracking.smoothing_gains(self.floor)
            level_gain = self._gain(batch.moment - found - trend, batch, lowest)
            rate = 1.0 - ops.sqrt(1.0 - level_gain)
            trend_gain = ops.square(rate)
        else:
            rate = self._unless_first(self.rate)
            level_gain, trend_gain = tracking.smoothing_gains(rate)
        updated, moved = tracking.double_smoothing(
            batch.moment, found, trend, level_gain, trend_gain
        )
        states = [(self._trend, moved)]
        return found + trend, updated, rate, [(level_gain, batch)], states

    def _correct(self, found, batch, before):
        if self.rate == "adaptive":
            variance = batch.variance()
            rate, error = tracking.correlated_gain(
                ops.convert_to_tensor(self._error),
                variance,
                before.variance(),
                batch.covariance(before),
                self.floor,
            )
            rate = self._unless_first(rate)
            states = [(self._error, self._unless_first(error, variance))]
        else:
            rate = self._unless_first(self.rate)
            states = []
        updated = tracking.corrected_mean(
            batch.moment, found, before.moment, rate
        )
        parts = [(1.0, batch), (rate - 1.0, before)]
        return found, updated, rate, parts, states

    def _gain(self, innovation, batch, lowest):
        """The weight of a batch in the estimate."""
        if self.rate != "adaptive":
            return self._unless_first(self.rate)
        return self._unless_first(
            tracking.innovation_gain(innovation, batch.variance(), lowest)
        )

    def _unless_first(self, value, first=1.0):
        """`first` on the first batch, of which there is nothing to follow."""
        return ops.where(self._initialized > 0, value, first)

    def scalars(self, loss: Tensor) -> dict:
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

    def eigenvalues(self) -> Tensor:
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

    def rotation(self) -> Tensor:
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
            "tracking": self.tracking,
            "rate": self.rate,
            "floor": self.floor,
            "self_pairs": self.self_pairs,
            "triangular": self.triangular,
            "order": self.order,
            "mu": self.mu,
        }

    @classmethod
    def from_config(cls, config: dict) -> "MINC":
        """Rebuilds the objective; one saved before it could lead as it was."""
        return cls(**present(config))

    def attach(
        self, z1: Tensor, z2: Tensor, weight: float = 1.0, prefix: str = ""
    ) -> tuple[Tensor, Tensor]:
        """As `Objective.attach`; refused with `tracking="corrected"`."""
        if self.needs_previous:
            raise ValueError(f"MINC.attach: {NEEDS_PREVIOUS}")
        return super().attach(z1, z2, weight, prefix)

    def _check_pair(self, z1, z2):
        super()._check_pair(z1, z2)
        check_dim(self.dim, z1.shape)

    def _check_built(self, caller):
        if self.second_moment is None:
            raise ValueError(
                f"MINC.{caller}: the second moment does not exist yet; call "
                "the objective on a pair of embeddings first."
            )
