"""Projectors and predictors."""

import keras
import numpy as np
import pytest

from minc_tf.models import mlp


def kinds(model):
    return [type(layer).__name__ for layer in model.layers[1:]]


def test_layers_and_parameters():
    model = mlp(6, (10, 4))
    assert kinds(model) == ["Dense", "BatchNormalization", "ReLU", "Dense"]
    # No bias where a normalisation follows, which has one.
    assert sum(np.prod(v.shape) for v in model.trainable_variables) == (
        6 * 10 + 2 * 10 + 10 * 4 + 4
    )
    assert model.name == "projector"
    assert model.output_shape == (None, 4)


def test_options():
    assert kinds(mlp(6, (4,))) == ["Dense"]
    plain = mlp(6, (10, 4), norm=None, final_bias=False, name="predictor")
    assert kinds(plain) == ["Dense", "ReLU", "Dense"]
    assert [w.shape for w in plain.get_weights()] == [(6, 10), (10,), (10, 4)]
    assert plain.name == "predictor"
    final = mlp(6, (10, 4), norm="layer", final_norm=True)
    assert kinds(final)[-1] == kinds(final)[1] == "LayerNormalization"
    x = np.random.default_rng(0).normal(size=(5, 6))
    outputs = np.array(final(x))
    np.testing.assert_allclose(outputs.mean(axis=1), 0.0, atol=1e-5)
    assert len(final.layers[-1].weights) == 0


def test_forward_equals_numpy():
    model = mlp(3, (7, 2))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    for variable in model.weights:
        if variable.trainable:
            rng = np.random.default_rng(variable.shape[0])
            variable.assign(rng.normal(size=variable.shape))
    kernel, gamma, beta, last, bias = (
        v.numpy() for v in model.trainable_variables
    )
    hidden = x @ kernel
    hidden = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-5)
    expected = np.maximum(gamma * hidden + beta, 0.0) @ last + bias
    np.testing.assert_allclose(
        model(x, training=True), expected, rtol=1e-4, atol=1e-5
    )


def test_output_is_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = mlp(3, (7, 2))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("projector_dense1").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"norm": "group"}, "norm must .*'group'"),
        ({"widths": ()}, r"widths must .*\(\)"),
        ({"widths": (4, 0)}, r"widths must .*\(4, 0\)"),
        (
            {"norm": None, "final_norm": True},
            "norm must .*final_norm.*None",
        ),
    ],
)
def test_arguments_out_of_range(kwargs, message):
    with pytest.raises(ValueError, match=message):
        mlp(3, **{"widths": (4,), **kwargs})
