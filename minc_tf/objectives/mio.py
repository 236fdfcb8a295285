"""MIO: pairs of samples told apart by binary classification."""

import keras
from keras import ops

from minc_tf._checks import check_choice, check_number, check_positive, refusal
from minc_tf._types import Tensor
from minc_tf.objectives import replicas
from minc_tf.objectives.base import OBJECTIVES, PACKAGE, Objective
from minc_tf.objectives.batch import masked_logsumexp, products_of_samples
from minc_tf.objectives.norms import unit_norm

_FORMS = ("published", "improved")


def mio_loss(
    z1, z2, positive_temperature=0.5, negative_temperature=0.5, mse_weight=1.0
):
    """Binary cross-entropy of positive and negative pairs, and a distance.

    The published form in `MIO`, of rows (B, d) of norm one; means are over B
    positives, 2B (2B - 2) negatives and B d entries.
    """
    positives, products, negatives = products_of_samples(z1, z2)
    attraction = ops.mean(ops.softplus(-positives / positive_temperature))
    repulsion = ops.softplus(products / negative_temperature)
    repulsion = ops.mean(ops.where(negatives, repulsion, 0.0))
    samples, others = _samples_and_others(products)
    distance = ops.mean(ops.square(z1 - z2))
    return attraction + repulsion * samples / others + mse_weight * distance


def improved_mio_loss(
    z1, z2, positive_temperature=0.5, negative_temperature=0.5
):
    """The linear part of the attraction, and a bound of the repulsion.

    The improved form in `MIO`, of rows (B, d) of norm one. By Jensen's
    inequality the second term is at least that of `mio_loss`.
    """
    positives, products, negatives = products_of_samples(z1, z2)
    attraction = ops.mean(positives) / positive_temperature
    # exp(1 / t) overflows at low temperatures, so means are of logarithms;
    # the mean over all replicas, since its logarithm is not linear.
    here = masked_logsumexp(products / negative_temperature, negatives)
    total = ops.logsumexp(replicas.gather(ops.reshape(here, (1,))))
    samples, others = _samples_and_others(products)
    repulsion = ops.softplus(total - ops.log(samples) - ops.log(others))
    return repulsion - attraction


def _samples_and_others(products):
    """2B, and how many negatives each sample has, at least one: floats."""
    samples = ops.cast(ops.shape(products)[1], products.dtype)
    # A single pair has no negatives; 0 / 0 would poison the weights.
    return samples, ops.maximum(samples - 2.0, 1.0)


@OBJECTIVES.register("mio")
@keras.saving.register_keras_serializable(package=PACKAGE)
class MIO(Objective):
    """Mutual information optimisation by binary classification of pairs.

    Whether two of the 2B samples of a batch are views of one image is told
    from their cosine, with a cross-entropy averaged over the positive and the
    negative pairs apart. With B pairs, unit-norm embeddings and cosines `s`:

    - `form="published"`: `mean softplus(-s_pos / t_pos) + mean
      softplus(s_neg / t_neg) + mse_weight mean (z1 - z2)^2`, the last mean
      over the B d entries.
    - `form="improved"`: `-mean s_pos / t_pos
      + log(1 + mean exp(s_neg / t_neg))`, without the saturation of the
      attraction, and with the upper bound of the repulsion that Jensen's
      inequality gives.

    Args:
        positive_temperature: float, `t_pos`.
        negative_temperature: float, `t_neg`.
        mse_weight: float, weight of the squared distance of the two views in
            the published form, or None for the authors' 1. The improved form
            has no such term: None or 0.
        form: `"published"` or `"improved"`.
        name: string, the layer's name.

    Raises:
        ValueError: for an argument out of range, a positive `mse_weight` in
            the improved form, or a batch of one pair. (Where the batch size
            is only known at run time, such a batch has no negatives.)

    Example:
    ```python
    import keras, minc_tf

    objective = minc_tf.objectives.MIO(form="improved")
    z1 = keras.random.normal((32, 16), seed=0)
    z2 = z1 + 0.1 * keras.random.normal((32, 16), seed=1)
    print(float(objective(z1, z2)))
    ```

    Source: Manna, Pal and Bhattacharya, "MIO: mutual information optimization
    using self-supervised binary contrastive learning", arXiv 2111.12664, and
    the authors' code for the published form. The improved form follows the
    abstract of the third version (no repulsion of positives, the upper bound
    of the repulsion of negatives); its exact formula was not read.
    """

    minimum_batch = 2

    def __init__(
        self,
        *,
        positive_temperature: float = 0.5,
        negative_temperature: float = 0.5,
        mse_weight: float | None = None,
        form: str = "published",
        name: str | None = None,
    ) -> None:
        """See the class."""
        super().__init__(name=name)
        check_positive("MIO: positive_temperature", positive_temperature)
        check_positive("MIO: negative_temperature", negative_temperature)
        check_choice("MIO: form", form, _FORMS)
        if mse_weight is not None:
            check_number("MIO: mse_weight", mse_weight, 0)
            if form == "improved" and mse_weight != 0.0:
                raise refusal(
                    "MIO: mse_weight",
                    'None or 0 with form="improved", which has no such term',
                    mse_weight,
                )
        self.positive_temperature = positive_temperature
        self.negative_temperature = negative_temperature
        self.mse_weight = mse_weight
        self.form = form

    def compute(
        self,
        z1: Tensor,
        z2: Tensor,
        training: bool,
        sample_weight: Tensor | None,
    ) -> Tensor:
        """Returns the loss of the embeddings scaled to norm one."""
        z1, z2 = unit_norm(z1), unit_norm(z2)
        temperatures = self.positive_temperature, self.negative_temperature
        if self.form == "improved":
            return improved_mio_loss(z1, z2, *temperatures)
        mse_weight = 1.0 if self.mse_weight is None else self.mse_weight
        return mio_loss(z1, z2, *temperatures, mse_weight)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "positive_temperature": self.positive_temperature,
            "negative_temperature": self.negative_temperature,
            "mse_weight": self.mse_weight,
            "form": self.form,
        }
