"""Encoders by name, and any Keras model as an encoder."""

import importlib
import sys

import keras
import numpy as np
import pytest
from gradients import needs_tensorflow

from minc_tf.models import as_encoder, build_encoder

SHAPE = (32, 32, 3)


def images(shape=SHAPE):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (2, *shape)).astype("float32")


def test_our_own_by_name():
    encoder = build_encoder("small_resnet", (8, 8, 3), filters=(4, 8))
    assert encoder.input_shape == (None, 8, 8, 3)
    assert encoder.output_shape == (None, 8)
    encoder = build_encoder("resnet18", [16, 16, 1], stem="cifar")
    assert encoder.input_shape == (None, 16, 16, 1)
    assert encoder.output_shape == (None, 512)
    assert encoder.name == "resnet18"


@needs_tensorflow("networks of Keras's own, the same on both backends")
@pytest.mark.parametrize(
    "name, module, kwargs",
    [
        ("MobileNetV2", "mobilenet_v2", {"alpha": 0.35}),  # -1 to 1
        ("VGG16", "vgg16", {}),  # BGR, mean removed
    ],
)
def test_keras_applications_do_their_own_preprocessing(
    name, module, kwargs, tmp_path
):
    encoder = build_encoder(f"keras.applications.{name}", SHAPE, **kwargs)
    module = importlib.import_module(f"keras.applications.{module}")
    network = getattr(module, name)(
        input_shape=SHAPE,
        include_top=False,
        weights=None,
        pooling="avg",
        **kwargs,
    )
    network.set_weights(encoder.get_weights())
    x = images()
    expected = network(module.preprocess_input(x.copy()))
    found = encoder(x)
    assert encoder.output_shape == network.output_shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    if name == "MobileNetV2":
        encoder.save(tmp_path / "encoder.keras")
        again = keras.models.load_model(tmp_path / "encoder.keras")
        np.testing.assert_array_equal(again(x), found)


@needs_tensorflow("keras-cv")
def test_keras_cv_backbones_are_pooled_and_rescale():
    import keras_cv

    kwargs = {
        "stackwise_filters": [8, 12],
        "stackwise_blocks": [2, 2],
        "stackwise_strides": [1, 2],
    }
    name = "keras_cv.models.ResNetV2Backbone"
    encoder = build_encoder(name, SHAPE, **kwargs)
    network = keras_cv.models.ResNetV2Backbone(
        input_shape=SHAPE, include_rescaling=False, **kwargs
    )
    network.set_weights(encoder.get_weights())
    expected = np.array(network(images() / 255.0)).mean(axis=(1, 2))
    assert encoder.output_shape == (None, 48)
    np.testing.assert_allclose(
        encoder(images()), expected, rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize(
    "name, nearest",
    [
        ("resnet81", "did you mean 'resnet18'"),
        ("small_renset", "did you mean 'small_resnet'"),
        ("vit", "Known are resnet18, .*keras_hub.models"),
        ("keras.aplications.VGG16", "Known are"),
        ("keras.applications.MobileNetV9", "did you mean 'MobileNetV.'"),
        ("keras.applications.vgg16", "no model 'vgg16'; did you mean 'VGG16'"),
    ],
)
def test_unknown_names(name, nearest):
    with pytest.raises(ValueError, match=f"build_encoder: .*{nearest}"):
        build_encoder(name, SHAPE)


def test_a_library_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match="'keras_hub', which is not install"):
        build_encoder("keras_hub.models.ResNetBackbone", SHAPE)


def test_a_model_with_feature_maps_is_averaged():
    maps = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv")]
    )
    encoder = as_encoder(maps)
    assert encoder.name == maps.name
    x = images((8, 8, 3))
    np.testing.assert_allclose(
        encoder(x), np.array(maps(x)).mean(axis=(1, 2)), rtol=1e-5, atol=1e-6
    )
    # The weights are the model's own: training one trains the other.
    assert encoder.trainable_variables[0] is maps.trainable_variables[0]


def test_a_model_with_features_is_left_alone():
    features = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten()]
    )
    assert as_encoder(features) is features
    assert build_encoder(features, (8, 8, 3)) is features


def test_a_model_that_is_not_built_needs_the_image_shape():
    def flat():
        return keras.Sequential([keras.layers.Flatten()], name="flat")

    class Subclassed(keras.Model):
        def call(self, x):
            return keras.ops.mean(x, axis=(1, 2))

    for model in (flat(), Subclassed(name="flat")):
        with pytest.raises(ValueError, match=r"image_shape=.* for 'flat'"):
            as_encoder(model)
        assert as_encoder(model, (4, 4, 3)) is model
    called = Subclassed(name="flat")
    called(images())
    assert as_encoder(called) is called


def test_a_model_with_another_output():
    inputs = keras.Input((4, 4, 3))
    rank3 = keras.Model(inputs, keras.layers.Reshape((16, 3))(inputs))
    with pytest.raises(ValueError, match=r"gives \(None, 16, 3\)"):
        as_encoder(rank3)
    two = keras.Model(inputs, [inputs, inputs])
    with pytest.raises(ValueError, match=r"one tensor.*gives list"):
        as_encoder(two)


def test_arguments_for_a_model_that_exists_already():
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match=r"\['width'\]"):
        build_encoder(model, (8, 8, 3), width=2)


@pytest.fixture
def channels_first():
    """Keras set to images whose channels come first."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    assert keras.config.image_data_format() == "channels_first"
    keras.config.set_image_data_format(before)


def shapes(name, **kwargs):
    """Shapes of a network's weights, and its features of two images."""
    encoder = build_encoder(name, SHAPE, **kwargs)
    encoder = keras.models.model_from_json(encoder.to_json())
    rng = np.random.default_rng(0)
    found = [weight.shape for weight in encoder.weights]
    encoder.set_weights([rng.uniform(0.1, 1, shape) for shape in found])
    return found, encoder(images())


def own_maps(image_shape):
    """An encoder of one's own, which asks for no order of axes."""
    return keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Conv2D(4, 3),
            keras.layers.MaxPooling2D(),
        ]
    )


@pytest.mark.parametrize(
    "name, kwargs",
    [
        ("small_resnet", {"filters": (4, 8)}),
        ("resnet18", {}),
        (f"{__name__}:own_maps", {}),
        pytest.param(
            "keras.applications.MobileNetV2",
            {"alpha": 0.35},
            marks=needs_tensorflow("as above"),
        ),
    ],
)
def test_channels_come_last_whatever_keras_is_set_to(
    name, kwargs, channels_first, monkeypatch
):
    # The package has the function of that name.
    resnets = importlib.import_module("minc_tf.models.resnet")
    monkeypatch.setitem(resnets._DEPTHS, 18, ((1, 1), False))
    found, features = shapes(name, **kwargs)
    keras.config.set_image_data_format("channels_last")
    expected, same = shapes(name, **kwargs)
    keras.config.set_image_data_format("channels_first")
    assert found == expected
    np.testing.assert_array_equal(features, same)


def test_maps_are_pooled_over_height_and_width(channels_first):
    maps = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, data_format="channels_last"),
        ]
    )
    encoder = as_encoder(maps)
    assert encoder.output_shape == (None, 4)
    expected = np.mean(maps(images()), axis=(1, 2))
    np.testing.assert_allclose(encoder(images()), expected, rtol=1e-4)


def test_maps_whose_channels_come_first_are_refused():
    maps = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Permute((3, 1, 2)),
            keras.layers.ZeroPadding2D(
                name="pad", data_format="channels_first"
            ),
        ]
    )
    with pytest.raises(ValueError, match=r"'pad' of .* channels_first.*pool"):
        as_encoder(maps)
    pooled = keras.layers.GlobalAveragePooling2D(data_format="channels_first")
    encoder = keras.Sequential([maps, pooled])
    assert as_encoder(encoder) is encoder
