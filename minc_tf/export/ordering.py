"""Order of the embedding's coordinates: rotate a projector's output.

At the optimum of MINC with the full second moment, `Lambda = R diag(lambda)
R^T` for an unknown rotation R; `z @ R` has the ordered coordinates that the
triangular form learns.
"""

import keras
import numpy as np


def order_of(objective) -> tuple[bool, np.ndarray | None, np.ndarray | None]:
    """Return whether an objective orders the embedding, and how.

    Returns whether, the rotation, float32 (d, d) or None, to multiply the
    embedding with, and the eigenvalues (d,) in that order or None.
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

    No layer is copied, for not every one can be; `projector` is not changed.
    """
    before, last = _split_last_dense(projector)
    if last is None:
        policy, weights = "float32", [rotation]
    else:
        policy = last.dtype_policy
        weights = [w @ rotation for w in last.get_weights()]
    rotated = keras.layers.Dense(
        rotation.shape[1],
        use_bias=len(weights) > 1,
        dtype=policy,
        name="rotation",
    )
    rotated.build((None, weights[0].shape[0]))
    rotated.set_weights(weights)
    return [*before, rotated]


def _split_last_dense(projector):
    """Layers, and the linear Dense that ends a projector; or it, and None."""
    whole = [projector], None
    layers = getattr(projector, "layers", None)
    # A subclass of Dense may compute something else.
    if not layers or type(layers[-1]) is not keras.layers.Dense:
        return whole
    last = layers[-1]
    if last.activation is not keras.activations.linear:
        return whole
    if last.lora_enabled or last.quantization_mode:
        return whole
    try:
        # Another where an operation that is no layer follows; raises where
        # the layer is used twice or the model is not functional.
        (taken,), (given,) = projector.inputs, projector.outputs
        if last.output is not given:
            return whole
        before = keras.Model(taken, last.input)
    except (AttributeError, TypeError, ValueError):
        return whole
    # That of a mixed precision rounds what the projector is given.
    before.dtype_policy = projector.dtype_policy
    return [before], last
