"""TiCo: unit embeddings keep away from their running covariance."""

import keras
from keras import ops

from minc_tf._checks import check_number
from minc_tf._types import Shape, Tensor
from minc_tf.objectives import replicas
from minc_tf.objectives.base import OBJECTIVES, PACKAGE, Objective
from minc_tf.objectives.batch import normalise_weights
from minc_tf.objectives.norms import unit_norm


def means_of_pairs(z1, z2, weights=None):
    """Global means of `z1_i z1_i^T` (d, d), not centred, and of `z1_i.z2_i`.

    Weights (B,) are from `normalise_weights`.
    """
    if weights is None:
        weighted = z1 / ops.cast(ops.shape(z1)[0], z1.dtype)
    else:
        weighted = weights[:, None] * z1
    moment = ops.matmul(ops.transpose(z1), weighted)
    return replicas.mean((moment, ops.sum(weighted * z2)))


@OBJECTIVES.register("tico")
@keras.saving.register_keras_serializable(package=PACKAGE)
class TiCo(Objective):
    """Transformation invariance and covariance contrast.

    With embeddings scaled to norm one and B the moment of the first views,

        C <- beta C + (1 - beta) B,    B = mean_i z1_i z1_i^T
        L = -mean_i z1_i.z2_i + rho mean_i z1_i^T C z1_i

    C starts at zero. The loss uses the C that the batch is already part of,
    and the gradient passes through this part; older ones are constants. Only
    the first views enter C. A `TwoViewModel` with a target network, as in the
    published method, hands over both directions as one batch, so that C moves
    once a step, by the online embeddings of both views.

    Args:
        rho: float, weight of the covariance term, not negative.
        beta: float in [0, 1), what is kept of C in a step.
        name: string, the layer's name.

    Attributes:
        covariance: the (d, d) float32 non-trainable variable C. A batch that
            is not finite never enters it, and evaluation, which uses the C
            that its batch would give, leaves it alone.

    Raises:
        ValueError: for an argument out of range, or embeddings of another
            dimension than C.

    Example:
    ```python
    import keras, minc_tf

    objective = minc_tf.objectives.TiCo(rho=8.0)
    z1 = keras.random.normal((32, 16), seed=0)
    z2 = z1 + 0.1 * keras.random.normal((32, 16), seed=1)
    print(float(objective(z1, z2, training=True)))
    ```

    Source: Zhu et al. 2022, "TiCo: Transformation invariance and covariance
    contrast for self-supervised visual representation learning", arXiv
    2206.10698. The paper's text could not be read, only its abstract; the
    form is that of two implementations by others, which agree in it,
    sayannag/TiCo-pytorch and the TiCoLoss of lightly (there the loss is larger
    by 1). Both have beta = 0.9 and rho = 20; the first names 8 as the paper's
    rho, which is the default here.
    """

    takes_sample_weight = True

    def __init__(
        self, *, rho: float = 8.0, beta: float = 0.9, name: str | None = None
    ) -> None:
        """See the class."""
        super().__init__(name=name)
        check_number("TiCo: rho", rho, 0)
        check_number("TiCo: beta", beta, 0, 1, ends="[)")
        self.rho = rho
        self.beta = beta
        self.covariance = None

    def build(self, z1_shape: Shape, z2_shape: Shape | None = None) -> None:
        """Creates C; called with the shapes of the first batch."""
        dim = z1_shape[-1]
        if dim is None:
            raise ValueError(
                "TiCo: the dimension of the embeddings must be known; received "
                f"the shape {tuple(z1_shape)}."
            )
        super().build(z1_shape, z2_shape)
        self.covariance = self._add_state("covariance", shape=(dim, dim))

    def compute(
        self,
        z1: Tensor,
        z2: Tensor,
        training: bool,
        sample_weight: Tensor | None,
    ) -> Tensor:
        """Moves C if training; returns the loss with the C so moved."""
        moment, cosine = means_of_pairs(
            unit_norm(z1), unit_norm(z2), normalise_weights(sample_weight)
        )
        found = ops.convert_to_tensor(self.covariance)
        moved = self.beta * found + (1.0 - self.beta) * moment
        # The mean of z^T C z is <C, B>: no second pass over the batch.
        loss = self.rho * ops.sum(moved * moment) - cosine
        if training:
            # One overflowing batch (float16) would otherwise stay for ever.
            kept = ops.where(ops.isfinite(loss), moved, found)
            self.covariance.assign(ops.stop_gradient(kept))
        return loss

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "rho": self.rho, "beta": self.beta}

    def _check_pair(self, z1, z2):
        super()._check_pair(z1, z2)
        if self.covariance is None or z1.shape[-1] is None:
            return
        dim = self.covariance.shape[0]
        if z1.shape[-1] != dim:
            raise ValueError(
                f"TiCo: embeddings must have the {dim} dimensions of the first "
                f"batch; received the shape {tuple(z1.shape)}."
            )
