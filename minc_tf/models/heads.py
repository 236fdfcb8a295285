"""Projector and predictor heads."""

from collections.abc import Sequence

import keras
from keras import layers

from minc_tf._checks import check_choice, refusal

_NORMS = ("batch", "layer", None)


def mlp(
    input_dim: int,
    widths: Sequence[int],
    *,
    norm: str | None = "batch",
    final_norm: bool = False,
    final_bias: bool = True,
    batch_norm_momentum: float = 0.9,
    synchronized: bool = True,
    name: str = "projector",
) -> keras.Model:
    """A multilayer perceptron: Linear - norm - ReLU, ..., Linear.

    Args:
        input_dim: int, dimension of its input.
        widths: dimensions of the layers; the last is the output's.
        norm: `"batch"`, `"layer"` or None: what follows each hidden linear
            layer. Hidden layers have a bias only without it.
        final_norm: bool, the same normalisation after the last layer,
            without scale and offset.
        final_bias: bool, whether the last layer has a bias.
        batch_norm_momentum: float, share of the old moving statistics kept at
            a step.
        synchronized: bool, batch statistics over all replicas where there are
            several (TensorFlow only).
        name: string, the model's name, with which the names of its layers
            begin.

    Returns:
        A functional model (B, input_dim) -> float32 (B, widths[-1]).

    Raises:
        ValueError: for an unknown `norm` or no widths.

    Example:
    ```python
    import minc_tf

    projector = minc_tf.models.mlp(512, (2048, 256))
    print(projector.output_shape)
    ```
    """
    check_choice("mlp: norm", norm, _NORMS)
    if not widths or any(w < 1 for w in widths):
        raise refusal("mlp: widths", "one or more ints >= 1", tuple(widths))
    if final_norm and norm is None:
        raise refusal("mlp: norm", "given with final_norm=True", norm)

    def normalise(x, index, affine):
        if norm == "batch":
            return layers.BatchNormalization(
                momentum=batch_norm_momentum,
                epsilon=1e-5,
                center=affine,
                scale=affine,
                # Keras refuses synchronized=True on other backends.
                synchronized=(
                    synchronized and keras.backend.backend() == "tensorflow"
                ),
                name=f"{name}_norm{index}",
            )(x)
        return layers.LayerNormalization(
            center=affine, scale=affine, name=f"{name}_norm{index}"
        )(x)

    # Paths of weights, by which Keras assigns optimizers, name layers alone.
    inputs = keras.Input((input_dim,), name="features")
    x = inputs
    for index, width in enumerate(widths[:-1], start=1):
        x = layers.Dense(
            width, use_bias=norm is None, name=f"{name}_dense{index}"
        )(x)
        if norm is not None:
            x = normalise(x, index, affine=True)
        x = layers.ReLU(name=f"{name}_relu{index}")(x)
    last = len(widths)
    # float32: what follows is statistics.
    x = layers.Dense(
        widths[-1],
        use_bias=final_bias,
        dtype="float32",
        name=f"{name}_dense{last}",
    )(x)
    if final_norm:
        x = normalise(x, last, affine=False)
    return keras.Model(inputs, x, name=name)
