"""f-MICL: a contrastive loss for every f-divergence (arXiv 2402.10150)."""

import dataclasses
import math
from collections.abc import Callable

import keras
from keras import ops

from minc_tf._checks import check_choice, check_number, check_positive, refusal
from minc_tf._types import Tensor
from minc_tf.objectives import replicas
from minc_tf.objectives.base import OBJECTIVES, PACKAGE, Objective
from minc_tf.objectives.norms import unit_norm

#: Below it `exp(1 / sigma^2)` comes too near to what float32 can hold.
SMALLEST_SIGMA = 1.0 / math.sqrt(math.log(1e30))


@dataclasses.dataclass(frozen=True)
class Divergence:
    """`f(u)`, `f'(u)` and `f*(f'(u)) = u f'(u) - f(u)` as functions of `log u`.

    f generates an f-divergence, f* is its convex conjugate. The kernel's
    logarithm is known exactly, while the kernel itself can underflow.
    """

    f: Callable
    derivative: Callable
    conjugate: Callable


def tsallis(order: float) -> Divergence:
    """Tsallis's generator, `u^a / (a - 1)`, of an order a above 1."""
    return Divergence(
        f=lambda log_u: ops.exp(order * log_u) / (order - 1.0),
        derivative=lambda log_u: (
            order / (order - 1.0) * ops.exp((order - 1.0) * log_u)
        ),
        conjugate=lambda log_u: ops.exp(order * log_u),
    )


# log(1 + u) is softplus(log u), 1 / (1 + u) is sigmoid(-log u).
DIVERGENCES = {
    # u log u
    "kl": Divergence(
        f=lambda log_u: ops.exp(log_u) * log_u,
        derivative=lambda log_u: log_u + 1.0,
        conjugate=ops.exp,
    ),
    # Jensen-Shannon: u log u - (u + 1) log((1 + u) / 2)
    "js": Divergence(
        f=lambda log_u: (
            ops.exp(log_u) * log_u
            - (ops.exp(log_u) + 1.0) * (ops.softplus(log_u) - math.log(2.0))
        ),
        derivative=lambda log_u: math.log(2.0) + log_u - ops.softplus(log_u),
        conjugate=lambda log_u: ops.softplus(log_u) - math.log(2.0),
    ),
    # Chi-square: (u - 1)^2
    "pearson": Divergence(
        f=lambda log_u: ops.square(ops.expm1(log_u)),
        derivative=lambda log_u: 2.0 * ops.expm1(log_u),
        conjugate=lambda log_u: ops.expm1(2.0 * log_u),
    ),
    # Squared Hellinger: (sqrt(u) - 1)^2
    "hellinger": Divergence(
        f=lambda log_u: ops.square(ops.expm1(log_u / 2.0)),
        derivative=lambda log_u: -ops.expm1(-log_u / 2.0),
        conjugate=lambda log_u: ops.expm1(log_u / 2.0),
    ),
    "tsallis": tsallis(2.0),
    # Vincze-Le Cam: (u - 1)^2 / (u + 1)
    "vlc": Divergence(
        f=lambda log_u: ops.square(ops.expm1(log_u)) * ops.sigmoid(-log_u),
        derivative=lambda log_u: 1.0 - 4.0 * ops.square(ops.sigmoid(-log_u)),
        conjugate=lambda log_u: (
            3.0 + 4.0 * ops.sigmoid(-log_u) * (ops.sigmoid(-log_u) - 2.0)
        ),
    ),
}


def default_alpha(sigma: float) -> float:
    """The weight of the repulsion with which `alpha u` is a density ratio.

    Were u free, the loss would be least at `u = r / alpha`, r the ratio, whose
    mean over independent pairs is one. So alpha is one over their mean of u,
    that of nearly orthogonal embeddings, as spread over the sphere.
    """
    # With KL and alpha one over the batch's own mean of u, the gradient is that
    # of `-mean_i log u_ii + log mean_{i != j} u_ij`: a loss with a softmax.
    return math.exp(1.0 / sigma**2)


def fmicl_loss(z1, z2, divergence: Divergence, alpha: float, sigma: float):
    """f-MICL of pairs (B, d) of norm one (or zero), with a Gaussian kernel.

    `-mean_i f'(u_ii) + alpha mean_{i != j} f*(f'(u_ij))`,
    `u_ij = exp(-||z1_i - z2_j||^2 / (2 sigma^2))`; a single pair has no
    negatives. Lu et al. 2023, arXiv 2402.10150.
    """
    local = ops.shape(z1)[0]
    batch = local * replicas.count()
    scale = -0.5 / sigma**2
    # Positives are near: `|a|^2 + |b|^2 - 2 a.b` would cancel.
    distances = ops.sum(ops.square(z1 - z2), axis=-1)
    attraction = ops.mean(divergence.derivative(scale * distances))
    distances = _squared_distances(z1, replicas.gather(z2))
    repulsion = divergence.conjugate(scale * distances)
    own = ops.one_hot(replicas.own_rows(local), batch, dtype=z1.dtype)
    # In float, because B^2 can exceed int32.
    others = ops.maximum(ops.cast(batch, z1.dtype) - 1.0, 1.0)
    pairs = ops.cast(local, z1.dtype) * others
    return alpha * ops.sum(repulsion * (1.0 - own)) / pairs - attraction


def _squared_distances(z1, z2):
    """Squared distances (b, B) of each row of z1 to each row of z2."""
    # Not 2 - 2 cos: rows of zeros have no norm. Rounding can make a distance
    # slightly negative; no function of log u minds, and a clamp would take
    # the gradient from such pairs.
    norms1 = ops.sum(ops.square(z1), axis=-1)
    norms2 = ops.sum(ops.square(z2), axis=-1)
    products = ops.matmul(z1, ops.transpose(z2))
    return norms1[:, None] + norms2[None, :] - 2.0 * products


@OBJECTIVES.register("fmicl")
@keras.saving.register_keras_serializable(package=PACKAGE)
class FMICL(Objective):
    """f-mutual information in contrastive learning.

    InfoNCE bounds a mutual information of Kullback and Leibler; here any
    f-divergence takes its place, and the similarity of two embeddings (scaled
    to norm one) is `f'` of a Gaussian kernel. `sigma^2` is what SimCLR calls
    the temperature: the kernel is `exp((cos - 1) / sigma^2)`.

    `"pearson"`, and `"tsallis"` of order 2 with the same gradient, is the
    spectral contrastive loss with the kernel in place of the inner product.
    The values that the paper gives to `alpha` and `sigma` could not be read:
    the defaults are this project's.

    Args:
        divergence: `"kl"`, `"js"` (Jensen-Shannon), `"pearson"`
            (chi-square), `"hellinger"` (squared), `"tsallis"` or `"vlc"`
            (Vincze-Le Cam).
        alpha: float, weight of the repulsion, or None for `exp(1 / sigma^2)`
            (55 at the default `sigma`), with which `alpha` times the kernel
            estimates the density ratio of the views; see
            `default_alpha`.
        sigma: float, width of the kernel, 0.12032 or more.
        order: float, Tsallis's `a > 1`, 2 where it is None. The other
            divergences have none.
        name: string, the layer's name.

    Attributes:
        resolved_alpha: float, the weight of the repulsion in use.

    Raises:
        ValueError: for an argument out of range, or a batch of one pair.
            (Where the batch size is only known at run time, such a batch has
            no negatives.)

    Example:
    ```python
    import keras, minc_tf

    objective = minc_tf.objectives.FMICL(divergence="js", sigma=0.5)
    z = keras.random.normal((32, 16), seed=0)
    print(float(objective(z, z)))
    ```

    Source: Lu, Zhang, Sun, Guo, Yu 2023, "f-MICL: Understanding and
    generalizing InfoNCE-based contrastive learning", arXiv 2402.10150.
    """

    minimum_batch = 2

    def __init__(
        self,
        *,
        divergence: str = "kl",
        alpha: float | None = None,
        sigma: float = 0.5,
        order: float | None = None,
        name: str | None = None,
    ) -> None:
        """See the class."""
        super().__init__(name=name)
        _check_arguments(divergence, alpha, sigma, order)
        self.divergence = divergence
        self.alpha = alpha
        self.sigma = sigma
        self.order = order
        self.resolved_alpha = default_alpha(sigma) if alpha is None else alpha

    def compute(
        self,
        z1: Tensor,
        z2: Tensor,
        training: bool,
        sample_weight: Tensor | None,
    ) -> Tensor:
        """Returns the loss of the embeddings scaled to norm one."""
        divergence = DIVERGENCES[self.divergence]
        if self.order is not None:
            divergence = tsallis(self.order)
        return fmicl_loss(
            unit_norm(z1),
            unit_norm(z2),
            divergence,
            self.resolved_alpha,
            self.sigma,
        )

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "divergence": self.divergence,
            "alpha": self.alpha,
            "sigma": self.sigma,
            "order": self.order,
        }


def _check_arguments(divergence, alpha, sigma, order):
    check_choice("FMICL: divergence", divergence, DIVERGENCES)
    if alpha is not None:
        check_positive("FMICL: alpha", alpha)
    check_positive("FMICL: sigma", sigma)
    # Squared distances reach 4, so Hellinger's f' reaches exp(1 / sigma^2).
    if sigma < SMALLEST_SIGMA:
        raise refusal(
            "FMICL: sigma",
            f"at least {SMALLEST_SIGMA:.5f}, so that exp(1 / sigma^2) fits in "
            "float32",
            sigma,
        )
    if order is None:
        return
    if divergence != "tsallis":
        raise refusal(
            "FMICL: order",
            f'None: divergence="tsallis" has one, not {divergence!r}',
            order,
        )
    check_number("FMICL: order", order, 1, ends="(]", also=", or None")
