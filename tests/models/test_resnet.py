"""Residual networks: sizes, strides, padding, pixels."""

import keras
import numpy as np
import pytest

from minc_tf.models import resnet, small_resnet


def trainable_parameters(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


@pytest.mark.parametrize(
    "depth, parameters, features",
    [(18, 11_176_512, 512), (34, 21_284_672, 512), (50, 23_508_032, 2048)],
)
def test_parameters_of_torchvision_without_its_classifier(
    depth, parameters, features
):
    model = resnet(depth)
    assert trainable_parameters(model) == parameters
    assert model.output_shape == (None, features)
    assert model.name == f"resnet{depth}"
    # 224 -> 112 -> 56 in the stem; then halved three times.
    last = "c" if depth == 50 else "b"
    for stage, size in enumerate([56, 28, 14, 7], start=1):
        layer = model.get_layer(f"stage{stage}_1_{last}_conv")
        assert layer.output.shape[1:3] == (size, size)
    if depth == 50:
        _check_strides_of_version_1_5(model)


def _check_strides_of_version_1_5(model):
    convolutions = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.strides == (2, 2)
    ]
    sizes = {layer.name: layer.kernel_size for layer in convolutions}
    assert sizes == {
        "stem_conv": (7, 7),
        **{f"stage{i}_1_b_conv": (3, 3) for i in (2, 3, 4)},
        **{f"stage{i}_1_shortcut_conv": (1, 1) for i in (2, 3, 4)},
    }


def test_cifar_stem_keeps_the_resolution():
    model = resnet(18, image_shape=(32, 32, 3), stem="cifar")
    # Only the 7x7x3 stem became 3x3x3.
    assert trainable_parameters(model) == 11_176_512 - (49 - 9) * 3 * 64
    assert model.get_layer("stem_conv").output.shape[1:] == (32, 32, 64)
    for stage, size in enumerate([32, 16, 8, 4], start=1):
        layer = model.get_layer(f"stage{stage}_2_b_conv")
        assert layer.output.shape[1:3] == (size, size)


def test_width_multiplies_every_channel():
    model = resnet(18, image_shape=(32, 32, 3), width=2, stem="cifar")
    assert model.output_shape == (None, 1024)
    assert model.name == "resnet18_2x"
    narrow = resnet(18, image_shape=(32, 32, 3), stem="cifar")
    pairs = list(zip(model.layers, narrow.layers, strict=True))
    for wide, layer in pairs:
        if isinstance(layer, keras.layers.Conv2D):
            assert wide.filters == 2 * layer.filters


def test_small_resnet_sizes():
    model = small_resnet(image_shape=(16, 16, 3), filters=(4, 8, 12))
    assert model.output_shape == (None, 12)
    for stage, size in enumerate([8, 4, 2], start=1):
        layer = model.get_layer(f"stage{stage}_1_b_conv")
        assert layer.output.shape[1:3] == (size, size)


def slow_convolution(x, kernel, stride, padding):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    size = kernel.shape[0]
    out = (x.shape[1] - size) // stride + 1
    result = np.zeros((len(x), out, out, kernel.shape[-1]))
    for i in range(out):
        for j in range(out):
            rows = slice(i * stride, i * stride + size)
            columns = slice(j * stride, j * stride + size)
            patch = x[:, rows, columns, :]
            result[:, i, j] = np.tensordot(patch, kernel, 3)
    return result


def test_pixels_and_the_symmetric_padding_of_strided_convolutions():
    """Padding as in the papers; TensorFlow's "same" pads only at the end."""
    model = small_resnet(image_shape=(8, 8, 3), filters=(4, 8))
    probe = keras.Model(
        model.inputs,
        [
            model.get_layer(name).output
            for name in ("stem_conv", "stage1_1_relu", "stage2_1_a_conv")
        ],
    )
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3))
    stem, between, strided = (np.array(x) for x in probe(images))
    kernel = model.get_layer("stem_conv").kernel.numpy()
    expected = slow_convolution(images / 127.5 - 1.0, kernel, 2, 1)
    np.testing.assert_allclose(stem, expected, rtol=1e-4, atol=1e-4)
    kernel = model.get_layer("stage2_1_a_conv").kernel.numpy()
    expected = slow_convolution(between, kernel, 2, 1)
    np.testing.assert_allclose(strided, expected, rtol=1e-4, atol=1e-4)


def test_a_block_starts_as_its_shortcut():
    """The last normalisation of a block has scale zero."""
    model = small_resnet(image_shape=(8, 8, 3), filters=(4, 4))
    probe = keras.Model(
        model.inputs,
        [model.get_layer(n).output for n in ("stem_relu", "stage1_1_relu")],
    )
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3))
    np.testing.assert_array_equal(*map(np.array, probe(images)))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_begins_and_ends_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = small_resnet(image_shape=(8, 8, 3), filters=(4, 8))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("pixels_to_unit").output.dtype == "float32"
    assert model.get_layer("stem_conv").output.dtype == policy[6:]
    assert model.output.dtype == "float32"


@pytest.mark.parametrize(
    "argument, value",
    [
        ("depth", 19),
        ("width", 0),
        ("width", 1.5),
        ("stem", "imagnet"),
    ],
)
def test_resnet_arguments_out_of_range(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must .*{value!r}"):
        resnet(**{"depth": 18, argument: value})


@pytest.mark.parametrize("filters", [(), (4, 0), 8])
def test_small_resnet_filters_out_of_range(filters):
    with pytest.raises(ValueError, match=r"filters must .*received"):
        small_resnet(filters=filters)
