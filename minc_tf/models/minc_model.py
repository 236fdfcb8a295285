"""The model that most users start from: two views, MINC."""

from collections.abc import Callable

import keras

from minc_tf._pixels import PIXELS
from minc_tf._types import Tensor
from minc_tf.models.two_view import TwoViewModel
from minc_tf.objectives import MINC, Objective
from minc_tf.objectives.base import PACKAGE


@keras.saving.register_keras_serializable(package=PACKAGE)
class MINCModel(TwoViewModel):
    """A `TwoViewModel` whose objective is MINC unless another is given.

    Args:
        encoder: Keras model from images to features (B, F).
        projector: Keras model from features to embeddings (B, d).
        objective: an objective; by default `MINC(dim=d)`.
        predictor: see `TwoViewModel`.
        target_momentum: see `TwoViewModel`.
        micro_batches: see `TwoViewModel`.
        views: see `TwoViewModel`.
        value_range: see `TwoViewModel`.
        name: string, the model's name.
        dtype: see `TwoViewModel`.

    Raises:
        ValueError: if no objective is given and the projector's output
            dimension is not known yet.

    Example:
    ```python
    import keras, minc_tf

    encoder = minc_tf.models.small_resnet(filters=(8, 16))
    projector = minc_tf.models.mlp(16, (32, 8))
    model = minc_tf.MINCModel(encoder, projector)
    model.compile(optimizer=keras.optimizers.AdamW(1e-3))
    view1 = keras.random.uniform((16, 32, 32, 3), 0, 255, seed=0)
    model.fit(view1, view1[:, :, ::-1], batch_size=8, verbose=0)
    print(model.objective.eigenvalues())
    ```

    Source: Guo et al., arXiv 2504.16667.
    """

    def __init__(
        self,
        encoder: keras.Model,
        projector: keras.Layer,
        objective: Objective | None = None,
        predictor: keras.Layer | None = None,
        target_momentum: float | Callable[[Tensor], Tensor] | None = None,
        micro_batches: int = 1,
        views: keras.Layer | None = None,
        value_range: tuple[float, float] | None = PIXELS,
        name: str | None = None,
        dtype: str | keras.DTypePolicy | None = None,
    ) -> None:
        if objective is None:
            shape = getattr(projector, "output_shape", None)
            if not isinstance(shape, tuple) or not isinstance(shape[-1], int):
                raise ValueError(
                    "MINCModel: the projector's output dimension is not known "
                    "before it is built; pass objective=MINC(dim=...)."
                )
            objective = MINC(dim=shape[-1])
        super().__init__(
            encoder,
            projector,
            objective,
            predictor=predictor,
            target_momentum=target_momentum,
            micro_batches=micro_batches,
            views=views,
            value_range=value_range,
            name=name,
            dtype=dtype,
        )
