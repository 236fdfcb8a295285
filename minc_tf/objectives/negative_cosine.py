"""The negative cosine: the loss of SimSiam and of BYOL."""

import keras
from keras import ops

from minc_tf._checks import check_choice, check_positive
from minc_tf._types import Tensor
from minc_tf.objectives.base import OBJECTIVES, PACKAGE, Objective
from minc_tf.objectives.batch import normalise_weights
from minc_tf.objectives.norms import unit_norm


def negative_cosine(z1, z2, weights=None):
    """Mean negative cosine of the pairs of a batch, `-mean_i cos(z1_i, z2_i)`.

    Weights (B,) sum to one. The cosine with a row of zeros is 0. Chen & He
    2021, arXiv 2011.10566, eq. (1).
    """
    cosines = ops.sum(unit_norm(z1) * unit_norm(z2), axis=-1)
    if weights is None:
        return -ops.mean(cosines)
    return -ops.sum(weights * cosines)


def normalised_distance(z1, z2, weights=None):
    """Mean squared distance of the directions of pairs, `2 - 2 mean_i cos`.

    Grill et al. 2020, arXiv 2006.07733, eq. (2).
    """
    return 2.0 + 2.0 * negative_cosine(z1, z2, weights)


_FORMS = {"cosine": negative_cosine, "distance": normalised_distance}


@OBJECTIVES.register("negative_cosine")
@keras.saving.register_keras_serializable(package=PACKAGE)
class NegativeCosine(Objective):
    """Negative cosine of predictions and targets.

    With a predictor, the loss of SimSiam; with a target network as well, that
    of BYOL. Alone it is least where all embeddings are the same: both
    arguments receive a gradient here, and to stop that of the targets, or
    otherwise to keep from collapsing, is the business of the model
    (`TwoViewModel` does it for a `predictor` or `target_momentum`).

    Args:
        form: `"cosine"`, `-cos` (SimSiam), or `"distance"`, the squared
            distance of the embeddings scaled to norm one, `2 - 2 cos` (BYOL).
        weight: float, factor of the loss. `TwoViewModel` hands over both
            directions in one batch, of which the mean is taken: SimSiam's
            loss at 1; at 2 BYOL's, which is the sum of the directions.
        name: string, the layer's name.

    Raises:
        ValueError: for an argument out of range.

    Example:
    ```python
    import keras, minc_tf

    objective = minc_tf.objectives.NegativeCosine(form="distance", weight=2.0)
    z = keras.random.normal((32, 16), seed=0)
    print(float(objective(z, -z)))  # 8, opposite in both directions
    ```

    Source: Chen & He 2021, "Exploring simple Siamese representation
    learning", arXiv 2011.10566, eq. (1) and (2); Grill et al. 2020,
    "Bootstrap your own latent", arXiv 2006.07733, eq. (2).
    """

    takes_sample_weight = True

    def __init__(
        self,
        *,
        form: str = "cosine",
        weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        """See the class."""
        super().__init__(name=name)
        check_choice("NegativeCosine: form", form, _FORMS)
        check_positive("NegativeCosine: weight", weight)
        self.form = form
        self.weight = weight

    def compute(
        self,
        z1: Tensor,
        z2: Tensor,
        training: bool,
        sample_weight: Tensor | None,
    ) -> Tensor:
        """Returns the weighted mean over the pairs, times `weight`."""
        weights = normalise_weights(sample_weight)
        return self.weight * _FORMS[self.form](z1, z2, weights)

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "form": self.form,
            "weight": self.weight,
        }
