"""Order of the embedding's coordinates: rotate a projector's output.

At the optimum of MINC with the full second moment, `Lambda = R diag(lambda)
R^T` for an unknown rotation R; `z @ R` has the ordered coordinates that the
triangular form learns.
"""

import keras
import numpy as np


def order_of(objective) -> tuple[bool, np.ndarray | None, np.ndarray | None]:
    """Tell how an objective orders the coordinates of its embedding.

    Returns whether it does; the rotation, float32 (d, d), to multiply the
    embedding with, or `None`; and the eigenvalues (d,) in that order, or
    `None`. One that orders has `rotation()`, `second_moment` (d, d), all
    finite, and `triangular`.
    """
    if not callable(getattr(objective, "rotation", None)):
        return False, None, None
    if objective.second_moment is None:
        raise ValueError(
            "model must be built; received a model whose objective has no "
            "second moment yet; build it or train it first"
        )
    moment = keras.ops.convert_to_numpy(objective.second_moment)
    bad = np.size(moment) - np.count_nonzero(np.isfinite(moment))
    if bad:
        raise ValueError(
            "objective.second_moment must be finite; received "
            f"{bad} NaN or infinite values of {moment.size}; export an "
            "earlier checkpoint"
        )
    if objective.triangular:
        return True, None, np.diagonal(moment).astype("float32")
    rotation = keras.ops.convert_to_numpy(objective.rotation())
    eigenvalues = np.einsum("ij,ik,kj->j", rotation, moment, rotation)
    return True, rotation.astype("float32"), eigenvalues.astype("float32")


def rotated_layers(projector, rotation: np.ndarray) -> list:
    """Layers that, applied in turn, give `projector(x) @ rotation`.

    A copy of the projector with the rotation (d, d) folded into its last layer,
    if that is a linear Dense; otherwise the projector itself, followed by a
    float32 Dense. `projector` is not changed.
    """
    if not _ends_in_linear_dense(projector):
        rotate = keras.layers.Dense(
            rotation.shape[1], use_bias=False, dtype="float32", name="rotation"
        )
        rotate.build((None, rotation.shape[0]))
        rotate.set_weights([rotation])
        return [projector, rotate]
    copy = keras.models.clone_model(projector)
    if not copy.built:
        copy.build(projector.input_shape)
    copy.set_weights(projector.get_weights())
    last = copy.layers[-1]
    last.set_weights([w @ rotation for w in last.get_weights()])
    return [copy]


def _ends_in_linear_dense(projector):
    layers = getattr(projector, "layers", None)
    # A subclass of Dense may compute something else.
    if not layers or type(layers[-1]) is not keras.layers.Dense:
        return False
    last = layers[-1]
    if last.activation is not keras.activations.linear:
        return False
    if last.lora_enabled or last.quantization_mode:
        return False
    if isinstance(projector, keras.Sequential):
        return True
    try:
        # False where an operation that is no layer follows; `output` raises
        # where the layer is used twice or the model is not functional.
        return last.output is projector.output
    except (AttributeError, ValueError):
        return False
