"""Networks of keras.applications, with and without their preprocessing."""

import importlib
import warnings

import keras
import pytest
from gradients import needs_tensorflow
from keras import layers

import minc_tf
from minc_tf.models import as_encoder, build_encoder
from minc_tf.models.applications import warn_of_missing_preprocessing

pytestmark = needs_tensorflow("networks of Keras's own, the same on both")

SHAPE = (96, 96, 3)
WITHOUT = {
    "DenseNet121": "densenet",
    "InceptionResNetV2": "inception_resnet_v2",
    "InceptionV3": "inception_v3",
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "NASNetMobile": "nasnet",
    "ResNet50": "resnet",
    "ResNet50V2": "resnet_v2",
    "VGG16": "vgg16",
    "VGG19": "vgg19",
    "Xception": "xception",
}
#: With their own, unless told not to.
WITH = {
    "EfficientNetB0": None,
    "EfficientNetV2B0": "efficientnet_v2",
    "MobileNetV3Small": "mobilenet_v3",
    "ConvNeXtTiny": "convnext",
}


def make(name, **kwargs):
    kwargs = {"input_shape": SHAPE, **kwargs}
    return getattr(keras.applications, name)(
        include_top=False, weights=None, **kwargs
    )


def said(encoder):
    """The warnings of an encoder."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warn_of_missing_preprocessing("build", encoder)
    return [str(each.message) for each in found]


@pytest.mark.parametrize("name", WITHOUT)
def test_a_network_alone_is_told_from_a_wrapped_one(name):
    network = make(name)
    (message,) = said(network)
    assert f"keras.applications.{WITHOUT[name]} without" in message
    assert "build_encoder('keras.applications.NAME'" in message
    assert "\n" not in message
    if name != "MobileNet":  # the rest is the same for all
        return
    images, pooled = keras.Input(SHAPE), layers.GlobalAveragePooling2D()
    module = importlib.import_module(f"keras.applications.{WITHOUT[name]}")
    for alone in (
        keras.Sequential([keras.Input(SHAPE), network, pooled]),
        as_encoder(network),
    ):
        (again,) = said(alone)
        assert again == message.replace(network.name, alone.name, 1)
    prepared = module.preprocess_input(images)
    for wrapped in (
        keras.Model(images, pooled(network(prepared))),
        keras.Sequential([keras.Input(SHAPE), layers.Rescaling(2), network]),
        as_encoder(network, value_range=(-1, 1)),
    ):
        assert not said(wrapped)


@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50"])
def test_a_network_on_a_prepared_tensor_is_wrapped(name):
    images = keras.Input(SHAPE)
    module = importlib.import_module(f"keras.applications.{WITHOUT[name]}")
    prepared = module.preprocess_input(images)
    network = make(name, input_shape=None, input_tensor=prepared)
    assert not said(network)
    assert not said(build_encoder(f"keras.applications.{name}", SHAPE))


@pytest.mark.parametrize("name", WITH)
def test_a_network_with_its_own_preprocessing(name):
    network = make(name)
    assert not said(network)
    if name == "MobileNetV3Small":
        assert not said(as_encoder(network))
    if WITH[name] is not None:
        (message,) = said(make(name, include_preprocessing=False))
        assert "make it with include_preprocessing=True" in message


def test_networks_of_this_library_and_of_ones_own():
    for encoder in (
        build_encoder("small_resnet", SHAPE),
        build_encoder("resnet18", SHAPE),
    ):
        assert not said(encoder)
    images = keras.Input(SHAPE)
    maps = layers.Conv2D(4, 3, name="conv1")(images)
    own = keras.Model(images, layers.GlobalAveragePooling2D()(maps))
    for encoder in (own, keras.Sequential([own]), keras.Sequential()):
        assert not said(encoder)


def test_build_warns_and_takes_no_range_for_an_answer():
    network = make("MobileNetV2", alpha=0.35, pooling="avg")
    widths = {"projector_widths": (8, 4)}
    with pytest.warns(UserWarning, match="keras.applications.mobilenet_v2 wi"):
        minc_tf.build("simclr", network, **widths)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        minc_tf.build("simclr", network, value_range=None, **widths)
        encoder = build_encoder(
            "keras.applications.MobileNetV2", SHAPE, alpha=0.35
        )
        minc_tf.build("simclr", encoder, **widths)
