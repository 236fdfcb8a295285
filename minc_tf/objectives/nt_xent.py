"""NT-Xent, the loss of SimCLR, and its squared, absolute, decoupled forms."""

import keras
from keras import ops

from minc_tf._checks import check_bool, check_choice, check_positive
from minc_tf._types import Tensor
from minc_tf.objectives.base import OBJECTIVES, PACKAGE, Objective
from minc_tf.objectives.batch import masked_logsumexp, products_of_samples
from minc_tf.objectives.norms import unit_norm

_SIMILARITIES = {
    "cosine": lambda cosines: cosines,
    "square": ops.square,
    # JAX gives the absolute value the slope 1 at zero, TensorFlow 0.
    "absolute": lambda cosines: cosines * ops.stop_gradient(ops.sign(cosines)),
}


def nt_xent_loss(z1, z2, temperature=0.5, similarity="cosine", decoupled=False):
    """Cross-entropy of finding the other view of a sample among all samples.

    `mean_i [-s_ij / t + log sum_k exp(s_ik / t)]` of rows (B, d) of norm one, k
    over all but i (and j, if decoupled): Chen et al. 2020, arXiv 2002.05709,
    eq. (1); decoupled: Yeh et al. 2022, arXiv 2110.06848.
    """
    similarity_of = _SIMILARITIES[similarity]
    positives, products, negatives = products_of_samples(z1, z2)
    positives = similarity_of(positives)[:, None] / temperature
    logits = similarity_of(products) / temperature
    repulsion = masked_logsumexp(logits, negatives, axis=1)
    repulsion = ops.reshape(repulsion, (-1, 2))
    if decoupled:
        # A single pair repels nothing: the logarithm of an empty sum.
        repulsion = ops.where(ops.any(negatives), repulsion, 0.0)
        return ops.mean(repulsion - positives)
    # -log(e^p / (e^p + e^r)) as it stands would lose a loss near 0 to 1 - 1.
    return ops.mean(ops.softplus(repulsion - positives))


@OBJECTIVES.register("nt_xent")
@keras.saving.register_keras_serializable(package=PACKAGE)
class NTXent(Objective):
    """Normalised, temperature-scaled cross-entropy: the loss of SimCLR.

    Each of the 2B samples of a batch has to find the other view of its image
    among the 2B - 1 other samples. The loss is the mean over the 2B samples
    (the original code sums the means of the two views: twice this).

    Args:
        temperature: float, divides the similarities: 0.1 on ImageNet, 0.5
            (the original) or 0.2 on CIFAR; 0.1 is usual for DCL.
        similarity: `"cosine"` (SimCLR), `"square"` (SimCLR-sq) or
            `"absolute"` (SimCLR-abs): what is taken of every cosine, that of
            the two views of one image included.
        decoupled: bool. True: decoupled contrastive learning (DCL), the
            positive is left out of the denominator.
        name: string, the layer's name.

    Raises:
        ValueError: for an argument out of range, or a batch of one pair.
            (Where the batch size is only known at run time, such a batch has
            no negatives.)

    Example:
    ```python
    import keras, minc_tf

    objective = minc_tf.objectives.NTXent(temperature=0.2)
    z1 = keras.random.normal((32, 16), seed=0)
    z2 = z1 + 0.1 * keras.random.normal((32, 16), seed=1)
    print(float(objective(z1, z2)))
    ```

    Source: Chen et al. 2020, "A simple framework for contrastive learning of
    visual representations", arXiv 2002.05709, eq. (1). Square and absolute:
    Garrido et al. 2023, arXiv 2206.02574. Decoupled: Yeh et al. 2022, arXiv
    2110.06848. The text of 2206.02574 speaks of the square or absolute values
    of cosine similarities, and of DCL "similarly"; its formulas were not
    read, so that the cosine of the positive is squared too is our reading.
    """

    minimum_batch = 2

    def __init__(
        self,
        *,
        temperature: float = 0.5,
        similarity: str = "cosine",
        decoupled: bool = False,
        name: str | None = None,
    ) -> None:
        """See the class."""
        super().__init__(name=name)
        check_positive("NTXent: temperature", temperature)
        check_choice("NTXent: similarity", similarity, _SIMILARITIES)
        check_bool("NTXent: decoupled", decoupled)
        self.temperature = temperature
        self.similarity = similarity
        self.decoupled = decoupled

    def compute(
        self,
        z1: Tensor,
        z2: Tensor,
        training: bool,
        sample_weight: Tensor | None,
    ) -> Tensor:
        """Returns the loss of the embeddings scaled to norm one."""
        return nt_xent_loss(
            unit_norm(z1),
            unit_norm(z2),
            self.temperature,
            self.similarity,
            self.decoupled,
        )

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "similarity": self.similarity,
            "decoupled": self.decoupled,
        }
