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
