"""From an encoder and the settings of a method to its model."""

from collections.abc import Callable, Mapping

import keras

from minc_tf._pixels import PIXELS
from minc_tf._types import Tensor
from minc_tf.models.encoders import output_shape_of
from minc_tf.models.heads import mlp
from minc_tf.models.minc_model import MINCModel
from minc_tf.models.two_view import TwoViewModel
from minc_tf.objectives import MINC, OBJECTIVES


def assemble(
    encoder: keras.Model,
    *,
    objective: Mapping,
    projector: Mapping,
    predictor: Mapping | None = None,
    target_momentum: float | Callable[[Tensor], Tensor] | None = None,
    micro_batches: int = 1,
    views: keras.Layer | None = None,
    value_range: tuple[float, float] | None = PIXELS,
    name: str | None = None,
) -> TwoViewModel:
    """Puts a model together: the one way for `minc_tf.build` and for runs.

    Args:
        encoder: Keras model from images (B, H, W, C) to features (B, F).
        objective: dict, `name` and the arguments of what it names; see
            `minc_tf.objectives.OBJECTIVES`.
        projector: dict, arguments of `minc_tf.models.mlp`.
        predictor: the same; empty or None for no predictor.
        target_momentum: see `TwoViewModel`.
        micro_batches: see `TwoViewModel`.
        views: see `TwoViewModel`.
        value_range: see `TwoViewModel`.
        name: string, the model's name.

    Returns:
        A `TwoViewModel` (`MINCModel` where the objective is MINC), not
        compiled.

    Raises:
        ValueError: for an encoder that is not built or gives no features, an
            unknown objective, or an argument out of range.
    """
    shape = output_shape_of("build", encoder)
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] is None:
        raise ValueError(
            "build: encoder must be a built model that gives features (batch, "
            f"dim); its output shape is {shape}. Pass it through "
            "minc_tf.models.as_encoder."
        )
    head = mlp(shape[1], **projector)
    prediction = None
    if predictor:
        arguments = {"name": "predictor", **predictor}
        prediction = mlp(head.output_shape[-1], **arguments)
    arguments = dict(objective)
    cls = OBJECTIVES.find(arguments.pop("name"), "config.objective.name")
    loss = cls(**arguments)
    return (MINCModel if isinstance(loss, MINC) else TwoViewModel)(
        encoder,
        head,
        loss,
        predictor=prediction,
        target_momentum=target_momentum,
        micro_batches=micro_batches,
        views=views,
        value_range=value_range,
        name=name,
    )
