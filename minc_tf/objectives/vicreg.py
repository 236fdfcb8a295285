"""VICReg, and its two relatives that lead from it to contrastive losses."""

import keras
from keras import ops

from minc_tf._checks import check_number, check_positive
from minc_tf._types import Tensor
from minc_tf.objectives import replicas
from minc_tf.objectives.base import OBJECTIVES, PACKAGE, Objective
from minc_tf.objectives.batch import centre, masked_logsumexp
from minc_tf.objectives.norms import unit_norm

#: Added to a variance before its root is taken.
_EPSILON = 1e-4


def covariance(centred):
    """Unbiased covariance (d, d) over the global batch; zeros for one row."""
    local = ops.cast(ops.shape(centred)[0], centred.dtype)
    moment = ops.matmul(ops.transpose(centred), centred / local)
    return _unbiased(replicas.mean(moment), local * replicas.count())


def embedding_variance(centred):
    """Unbiased variance (B,) of each embedding's entries; zeros for d = 1."""
    dim = ops.cast(ops.shape(centred)[1], centred.dtype)
    return _unbiased(ops.var(centred, axis=1), dim)


def variance_hinge(variance):
    """Mean distance of standard deviations below one, in [0, 0.99]."""
    return ops.mean(ops.relu(1.0 - ops.sqrt(variance + _EPSILON)))


def squared_redundancy(matrix):
    """Sum of squares off the diagonal of a matrix (d, d), per row."""
    dim = ops.shape(matrix)[0]
    others = _others(matrix, ops.arange(dim, dtype="int32"))
    return ops.mean(ops.sum(ops.where(others, ops.square(matrix), 0.0), axis=1))


def exponential_redundancy(matrix, own, temperature):
    """Mean over the rows of the log-sum-exp of all entries but one.

    `own` (n,) is the column that each row of the matrix (n, m) leaves out. Zero
    for m = 1, where nothing is left.
    """
    others = _others(matrix, own)
    rows = masked_logsumexp(matrix / temperature, others, axis=1)
    return ops.where(ops.shape(matrix)[1] > 1, ops.mean(rows), 0.0)


def _unbiased(variance, count):
    """A mean over `count` squares as one with `1 / (count - 1)`."""
    return variance * (count / ops.maximum(count - 1.0, 1.0))


def _others(matrix, own):
    """False in column `own[i]` of row i, true elsewhere."""
    columns = ops.arange(ops.shape(matrix)[1], dtype="int32")
    return ops.not_equal(own[:, None], columns)


@OBJECTIVES.register("vicreg")
@keras.saving.register_keras_serializable(package=PACKAGE)
class VICReg(Objective):
    """VICReg: equal views, spread dimensions, uncorrelated dimensions.

    `w_i MSE(z1, z2) + w_v [v(z1) + v(z2)] / 2 + w_c [c(z1) + c(z2)]`, with
    `v` the mean over dimensions of `relu(1 - sqrt(variance + 1e-4))` and `c =
    (1/d) sum_{i != j} covariance_ij^2`. The mean squared error is a mean over
    all entries; variance and covariance are unbiased and of the global batch.

    Args:
        invariance_weight: float, `w_i`, not negative.
        variance_weight: float, `w_v`, not negative.
        covariance_weight: float, `w_c`, not negative.
        name: string, the layer's name.

    Raises:
        ValueError: for a weight out of range, or a batch of one pair. (Where
            the batch size is only known at run time, the variances and
            covariances of such a batch are zero.)

    Example:
    ```python
    import keras, minc_tf

    objective = minc_tf.objectives.VICReg()
    z = keras.random.normal((32, 16), seed=0)
    print(float(objective(z, z)))
    ```

    Source: Bardes et al. 2022, "VICReg: Variance-invariance-covariance
    regularization for self-supervised learning", arXiv 2105.04906, and the
    authors' code, facebookresearch/vicreg (where the variance term has its
    1/2).
    """

    minimum_batch = 2

    def __init__(
        self,
        *,
        invariance_weight: float = 25.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        """See the class."""
        super().__init__(name=name)
        for argument, weight in (
            ("invariance_weight", invariance_weight),
            ("variance_weight", variance_weight),
            ("covariance_weight", covariance_weight),
        ):
            check_number(f"{type(self).__name__}: {argument}", weight, 0)
        self.invariance_weight = invariance_weight
        self.variance_weight = variance_weight
        self.covariance_weight = covariance_weight

    def compute(
        self,
        z1: Tensor,
        z2: Tensor,
        training: bool,
        sample_weight: Tensor | None,
    ) -> Tensor:
        """Returns the weighted sum of the three terms."""
        invariance = ops.mean(ops.square(z1 - z2))
        variance1, covariance1 = self.regularisers(z1)
        variance2, covariance2 = self.regularisers(z2)
        return (
            self.invariance_weight * invariance
            + self.variance_weight * 0.5 * (variance1 + variance2)
            + self.covariance_weight * (covariance1 + covariance2)
        )

    def regularisers(self, z: Tensor) -> Tensor:
        """Returns the variance term and the covariance term of one view."""
        matrix = covariance(centre(z))
        return variance_hinge(ops.diagonal(matrix)), self.redundancy(matrix)

    def redundancy(self, matrix: Tensor) -> Tensor:
        """Returns the covariance term of a covariance matrix (d, d)."""
        return squared_redundancy(matrix)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "invariance_weight": self.invariance_weight,
            "variance_weight": self.variance_weight,
            "covariance_weight": self.covariance_weight,
        }


@OBJECTIVES.register("vicreg_exp")
@keras.saving.register_keras_serializable(package=PACKAGE)
class VICRegExp(VICReg):
    """VICReg-exp: VICReg whose covariance term is a log-sum-exp.

    The covariance term becomes `(1/d) sum_i log sum_{j != i}
    exp(covariance_ij / temperature)`: zero for d = 1, where no entry is off
    the diagonal.

    Args:
        invariance_weight: float, weight of the mean squared error.
        variance_weight: float, weight of the variance term.
        covariance_weight: float, weight of the covariance term.
        temperature: float, positive. The paper's value is unread.
        name: string, the layer's name.

    Raises:
        ValueError: for an argument out of range, or a batch of one pair.

    Example:
    ```python
    import keras, minc_tf

    objective = minc_tf.objectives.VICRegExp(temperature=0.2)
    z = keras.random.normal((32, 16), seed=0)
    print(float(objective(z, z)))
    ```

    Source: Garrido et al. 2023, "On the duality between contrastive and
    non-contrastive self-supervised learning", arXiv 2206.02574, eq. (11) and
    (12); mean squared error and the 1/2 of the variance term as in `VICReg`.
    """

    def __init__(
        self,
        *,
        invariance_weight: float = 25.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
        temperature: float = 0.1,
        name: str | None = None,
    ) -> None:
        """See the class."""
        super().__init__(
            invariance_weight=invariance_weight,
            variance_weight=variance_weight,
            covariance_weight=covariance_weight,
            name=name,
        )
        check_positive(f"{type(self).__name__}: temperature", temperature)
        self.temperature = temperature

    def redundancy(self, matrix: Tensor) -> Tensor:
        """Returns the covariance term of a covariance matrix (d, d)."""
        own = ops.arange(ops.shape(matrix)[0], dtype="int32")
        return exponential_redundancy(matrix, own, self.temperature)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "temperature": self.temperature}


@OBJECTIVES.register("vicreg_ctr")
@keras.saving.register_keras_serializable(package=PACKAGE)
class VICRegCtr(VICRegExp):
    """VICReg-ctr: VICReg-exp on the transposed embeddings, so contrastive.

    Where to centre and normalise is not in the paper's formula; its prose and
    table 1 are read as follows. Each view is centred over the global batch,
    dimension by dimension. The variance term, which "will regularize the norm
    of the embeddings", is the mean over the batch of `relu(1 - sqrt(variance
    + 1e-4))`, with the unbiased variance of the d entries of an embedding.
    The covariance term is `(1/B) sum_i log sum_{j != i} exp(cos_ij /
    temperature)`, with the cosines of the centred embeddings of one view. The
    mean squared error is that of the embeddings as they come.

    Args:
        invariance_weight: float, weight of the mean squared error.
        variance_weight: float, weight of the variance term.
        covariance_weight: float, weight of the covariance term.
        temperature: float, positive.
        name: string, the layer's name.

    Raises:
        ValueError: for an argument out of range, or a batch of one pair.

    Example:
    ```python
    import keras, minc_tf

    objective = minc_tf.objectives.VICRegCtr(temperature=0.2)
    z = keras.random.normal((32, 16), seed=0)
    print(float(objective(z, z)))
    ```

    Source: Garrido et al. 2023, arXiv 2206.02574, eq. (13) and table 1. The
    paper's pseudocode and its temperature are unread.
    """

    def regularisers(self, z: Tensor) -> Tensor:
        """Returns the variance term and the covariance term of one view."""
        centred = centre(z)
        unit = unit_norm(centred)
        cosines = ops.matmul(unit, ops.transpose(replicas.gather(unit)))
        own = replicas.own_rows(ops.shape(z)[0])
        return (
            variance_hinge(embedding_variance(centred)),
            exponential_redundancy(cosines, own, self.temperature),
        )
