"""The spectral contrastive loss, the baseline that MINC starts from."""

import keras
from keras import ops

from minc_tf._types import Tensor
from minc_tf.objectives import replicas
from minc_tf.objectives.base import OBJECTIVES, PACKAGE, Objective
from minc_tf.objectives.norms import check_mu, clip_norm


def spectral_contrastive_loss(z1, z2):
    """Spectral contrastive loss of pairs (B, d).

    `-(2/B) sum_i z1_i.z2_i + 1/(B (B-1)) sum_{i != j} (z1_i.z2_j)^2`, HaoChen
    et al. 2021, arXiv 2106.04156, eq. (6).
    """
    local, dim = z1.shape
    # Two (d, d) products cost more than one (B, B) product where B is small,
    # and lose digits: the squared positives outweigh all else.
    small = local is not None and local * replicas.count() <= 2 * dim
    negatives = _by_pairs(z1, z2) if small else _by_moments(z1, z2)
    return negatives - 2.0 * ops.mean(ops.sum(z1 * z2, axis=-1))


def _by_pairs(z1, z2):
    """Mean squared product of different pairs: O(B^2 d), B known."""
    local = z1.shape[0]
    batch = local * replicas.count()
    products = ops.matmul(z1, ops.transpose(replicas.gather(z2)))
    own = ops.one_hot(replicas.own_rows(local), batch, dtype=z1.dtype)
    return ops.sum(ops.square(products * (1.0 - own))) / (local * (batch - 1))


def _by_moments(z1, z2):
    """The same in O(B d^2), for any B: no (B, B) matrix is formed.

    `sum_ij (z1_i.z2_j)^2 = <z1^T z1, z2^T z2>`, and the negatives of all
    replicas cost two (d, d) sums.
    """
    local = ops.cast(ops.shape(z1)[0], z1.dtype)
    batch = local * replicas.count()
    # Divided by B before squares of B terms are summed: large norms fit.
    moment1, moment2, squares = replicas.mean(
        (
            ops.matmul(ops.transpose(z1), z1 / local),
            ops.matmul(ops.transpose(z2), z2 / local),
            ops.mean(ops.square(ops.sum(z1 * z2, axis=-1))) / batch,
        )
    )
    # A single pair has no negatives; 0 / 0 would poison the weights.
    ratio = ops.where(batch > 1.0, batch / ops.maximum(batch - 1.0, 1.0), 0.0)
    return (ops.sum(moment1 * moment2) - squares) * ratio


@OBJECTIVES.register("spectral")
@keras.saving.register_keras_serializable(package=PACKAGE)
class SpectralContrastive(Objective):
    """Spectral contrastive loss.

    With `mu`, embeddings are clipped to norm `sqrt(mu)` and the loss is
    divided by `mu`, as in the authors' code. With `mu=None` neither is done:
    the form whose population value is `-J` of MINC.

    Args:
        mu: float, the largest squared norm of an embedding (1 on CIFAR, 10 on
            ImageNet in the paper), or None.
        name: string, the layer's name.

    Raises:
        ValueError: for `mu` out of range, or a batch of one pair. (Where the
            batch size is only known at run time, such a batch has no
            negatives.)

    Example:
    ```python
    import keras, minc_tf

    objective = minc_tf.objectives.SpectralContrastive(mu=1.0)
    z = keras.random.normal((32, 16), seed=0)
    print(float(objective(z, z)))
    ```

    Source: HaoChen et al. 2021, "Provable guarantees for self-supervised deep
    learning with spectral contrastive loss", arXiv 2106.04156.
    """

    minimum_batch = 2

    def __init__(
        self, *, mu: float | None = 1.0, name: str | None = None
    ) -> None:
        """See the class."""
        super().__init__(name=name)
        check_mu("SpectralContrastive: mu", mu)
        self.mu = mu

    def compute(
        self,
        z1: Tensor,
        z2: Tensor,
        training: bool,
        sample_weight: Tensor | None,
    ) -> Tensor:
        """Returns the loss of the clipped embeddings, divided by `mu`."""
        z1, z2 = clip_norm(z1, self.mu), clip_norm(z2, self.mu)
        loss = spectral_contrastive_loss(z1, z2)
        return loss if self.mu is None else loss / self.mu

    def scalars(self, loss: Tensor) -> dict:
        """Returns `chi2_information`, `J - 1` of the clipped embeddings."""
        scale = 1.0 if self.mu is None else self.mu
        return {"chi2_information": -loss * scale - 1.0}

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "mu": self.mu}
