"""Barlow Twins: the correlation of two views is to be the identity."""

import keras
from keras import ops

from minc_tf._checks import check_number
from minc_tf._types import Tensor
from minc_tf.objectives import replicas
from minc_tf.objectives.base import OBJECTIVES, PACKAGE, Objective
from minc_tf.objectives.batch import centre

#: Added to a variance before its root is taken, as in batch normalisation.
_EPSILON = 1e-5


def standardise(z):
    """Scales each dimension to mean 0 and variance 1 over the global batch.

    Batch normalisation (biased variance) without scale and offset.
    """
    centred = centre(z)
    variance = replicas.mean(ops.mean(ops.square(centred), axis=0))
    return centred / ops.sqrt(variance + _EPSILON)


def cross_correlation(z1, z2):
    """Correlation (d, d) of two views' dimensions over the global batch."""
    local = ops.cast(ops.shape(z1)[0], z1.dtype)
    first, second = standardise(z1), standardise(z2)
    return replicas.mean(ops.matmul(ops.transpose(first), second / local))


def distance_to_identity(matrix, redundancy_weight):
    """Squared distance to the identity, off the diagonal with a weight."""
    identity = ops.eye(ops.shape(matrix)[0], dtype=matrix.dtype)
    weights = identity + redundancy_weight * (1.0 - identity)
    return ops.sum(weights * ops.square(matrix - identity))


@OBJECTIVES.register("barlow_twins")
@keras.saving.register_keras_serializable(package=PACKAGE)
class BarlowTwins(Objective):
    """Barlow Twins: each dimension equal in both views, and unlike the others.

    `sum_i (C_ii - 1)^2 + redundancy_weight sum_{i != j} C_ij^2`, with C the
    correlation of the two views' dimensions over the global batch.

    Args:
        redundancy_weight: float, weight of the squares off the diagonal, not
            negative.
        name: string, the layer's name.

    Raises:
        ValueError: for a weight out of range, or a batch of one pair. (Where
            the batch size is only known at run time, the correlations of such
            a batch are zero.)

    Example:
    ```python
    import keras, minc_tf

    objective = minc_tf.objectives.BarlowTwins()
    z = keras.random.normal((32, 16), seed=0)
    print(float(objective(z, z)))
    ```

    Source: Zbontar et al. 2021, "Barlow Twins: Self-supervised learning via
    redundancy reduction", arXiv 2103.03230, eq. (1), and the authors' code,
    facebookresearch/barlowtwins.
    """

    minimum_batch = 2

    def __init__(
        self, *, redundancy_weight: float = 0.0051, name: str | None = None
    ) -> None:
        """See the class."""
        super().__init__(name=name)
        check_number("BarlowTwins: redundancy_weight", redundancy_weight, 0)
        self.redundancy_weight = redundancy_weight

    def compute(
        self,
        z1: Tensor,
        z2: Tensor,
        training: bool,
        sample_weight: Tensor | None,
    ) -> Tensor:
        """Returns the distance of the correlation to the identity."""
        correlation = cross_correlation(z1, z2)
        return distance_to_identity(correlation, self.redundancy_weight)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "redundancy_weight": self.redundancy_weight,
        }
