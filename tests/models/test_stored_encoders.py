"""Encoders from files and presets, from Python and from recipes."""

import sys
import types

import keras
import numpy as np
import pytest
from gradients import needs_tensorflow
from keras import layers
from training.conftest import tiny_config

import minc_tf
from minc_tf.models import as_encoder, build_encoder
from minc_tf.training import load_run, run, validate
from models import tiny

SHAPE = (8, 8, 3)


def network(shape=SHAPE, name="own"):
    """Feature maps of what it is given, with random weights."""
    images = keras.Input(shape)
    maps = layers.Conv2D(4, 3, name="conv")(images)
    norm = layers.BatchNormalization(name="norm")
    return keras.Model(images, norm(maps), name=name)


def images(shape=SHAPE):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (2, *shape)).astype("float32")


def averaged(model, x):
    return np.array(model(x)).mean(axis=(1, 2))


def assert_near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_file_and_the_range_that_its_network_expects(tmp_path):
    own, x = network(), images()
    own.save(tmp_path / "own.keras")
    path = str(tmp_path / "own.keras")
    assert_near(build_encoder(path, SHAPE)(x), averaged(own, x))
    for low, high in [(0, 1), (-1, 1), (0, 255)]:
        expected = averaged(own, x / 255.0 * (high - low) + low)
        encoder = build_encoder(path, SHAPE, value_range=(low, high))
        assert_near(encoder(x), expected)
        assert_near(as_encoder(own, value_range=(low, high))(x), expected)


def test_weights_of_a_file(tmp_path):
    own, x = network(), images()
    own.save_weights(tmp_path / "own.weights.h5")
    own.save(tmp_path / "own.keras")
    for name in ("own.weights.h5", "own.keras"):
        other = network()
        encoder = build_encoder(other, SHAPE, weights=str(tmp_path / name))
        assert_near(encoder(x), averaged(own, x))
    resnet = build_encoder("small_resnet", SHAPE, filters=(4,))
    resnet.save_weights(tmp_path / "resnet.weights.h5")
    again = build_encoder(
        *("small_resnet", SHAPE),
        filters=(4,),
        weights=str(tmp_path / "resnet.weights.h5"),
    )
    assert_near(again(x), resnet(x))


@needs_tensorflow("networks of Keras's own, the same on both backends")
def test_weights_of_a_file_for_keras_applications(tmp_path):
    kwargs = {"alpha": 0.35}
    shape = (32, 32, 3)
    net = keras.applications.MobileNetV2(
        input_shape=shape, weights=None, include_top=False, **kwargs
    )
    net.save_weights(tmp_path / "net.weights.h5")
    name = "keras.applications.MobileNetV2"
    path = str(tmp_path / "net.weights.h5")
    encoder = build_encoder(name, shape, weights=path, **kwargs)
    x = images(shape)
    assert_near(encoder(x), averaged(net, x / 127.5 - 1.0))
    with pytest.raises(ValueError, match=r"weights=.* are not those of"):
        build_encoder(name, shape, weights=path, alpha=0.5)


def test_a_model_of_this_library_gives_its_encoder(tmp_path):
    model = tiny.build()
    model.save(tmp_path / "model.keras")
    encoder = build_encoder(str(tmp_path / "model.keras"), tiny.SHAPE)
    x = tiny.views()[0]
    assert_near(encoder(x), model.encoder(x))


@needs_tensorflow
def test_a_file_in_a_recipe(tmp_path):
    own = network((32, 32, 3))
    path = tmp_path / "own.keras"
    own.save(path)
    config = tiny_config(epochs=1)
    config.optimizer.learning_rate = 1e-30
    config.encoder = {"name": str(path), "value_range": (0, 1)}
    run(config, tmp_path / "run", verbose=0)
    model, config = load_run(tmp_path / "run")
    assert config.encoder.name == str(path)
    kernel = own.get_layer("conv").kernel
    np.testing.assert_allclose(
        model.encoder.trainable_variables[0], kernel, rtol=1e-6
    )
    own.save_weights(tmp_path / "own.weights.h5")
    config = tiny_config()
    config.encoder.weights = str(tmp_path / "own.weights.h5")
    validate(config)
    with pytest.raises(ValueError, match=r"are not those of 'small_resnet'"):
        run(config, tmp_path / "other")
    assert not (tmp_path / "other").exists()


class Unregistered(layers.Layer):
    def call(self, x):
        return x


def files(folder):
    """What is no encoder, with what is said of it."""
    x = keras.Input(SHAPE)
    flat = layers.Flatten()(x)
    models = {
        "softmax": (layers.Dense(3, activation="softmax")(flat), "softmax"),
        "tokens": (layers.Reshape((64, 3))(x), r"gives \(None, 64, 3\)"),
        "unknown": (Unregistered()(x), "classes of your own"),
    }
    for name, (outputs, said) in models.items():
        keras.Model(x, outputs).save(folder / f"{name}.keras")
        yield f"{name}.keras", said
    two = [keras.Input(SHAPE), keras.Input(SHAPE)]
    keras.Model(two, layers.Add()(two)).save(folder / "two.keras")
    yield "two.keras", "must take one tensor, images"
    network((16, 16, 3)).save(folder / "larger.keras")
    yield "larger.keras", r"takes images \(16, 16, 3\); received image_shape="
    network().save_weights(folder / "own.weights.h5")
    yield "own.weights.h5", "with weights='FILE.weights.h5' beside it"
    (folder / "text.keras").write_text("no zip")
    yield "text.keras", "gives no Keras model: "
    (folder / "text").write_text("no zip")
    yield "text", "gives no Keras model: "
    (folder / "saved").mkdir()
    yield "saved", "which is a folder"
    yield "none.keras", "does not exist, seen from "


def test_what_is_no_encoder_is_refused_on_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, said in files(tmp_path):
        with pytest.raises(ValueError, match=said) as caught:
            build_encoder(name, SHAPE)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, kwargs, said",
    [
        ("small_resnet", {"value_range": (0, 1)}, "its own preprocessing"),
        ("small_resnet", {"weights": "no.h5"}, "weights='no.h5' does not ex"),
        ("small_resnet", {"weights": 3}, "weights must be a file"),
        ("small_resnet", {"weights": "imagenet"}, "weights must be a file"),
        (
            "keras.applications.VGG16",
            {"value_range": (0, 1)},
            "its own preprocessing",
        ),
    ],
)
def test_arguments_that_are_not_taken(name, kwargs, said):
    with pytest.raises(ValueError, match=said):
        build_encoder(name, (32, 32, 3), **kwargs)


def test_a_range_that_is_none():
    with pytest.raises(ValueError, match="value_range must be"):
        build_encoder(network(), SHAPE, value_range=(1, 0))


def test_a_function_gets_what_it_takes(monkeypatch):
    def taking(image_shape, weights):
        return network(image_shape, name=f"with_{weights}")

    monkeypatch.setitem(
        sys.modules, "own_networks", types.SimpleNamespace(taking=taking)
    )
    name = "own_networks:taking"
    assert build_encoder(name, SHAPE, weights="mine").name == "with_mine"
    with pytest.raises(ValueError, match="its own preprocessing"):
        build_encoder(name, SHAPE, weights="mine", value_range=(0, 1))


def test_weights_that_cannot_be_fetched(monkeypatch):
    def offline(input_shape, weights, **kwargs):
        raise Exception("URL fetch failure on https://weights")

    monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
    with pytest.raises(OSError, match=r"weights=.imagenet. of .* be had: URL"):
        build_encoder(
            "keras.applications.MobileNetV2", SHAPE, weights="imagenet"
        )


def hub(monkeypatch):
    """KerasHub, as far as it is used: `from_preset` of two classes."""

    class Backbone(keras.Model):
        @classmethod
        def from_preset(cls, preset, *, image_shape, load_weights=True):
            if preset not in ("whole", "bare"):
                raise ValueError("Unknown preset.\nUse another.")
            keras.utils.set_random_seed(1)
            return network(image_shape)

    class ImageConverter:
        scale, offset = [0.5, 0.25, 0.125], [1.0, 2.0, 3.0]

        @classmethod
        def from_preset(cls, preset):
            if preset != "whole":
                raise FileNotFoundError("image_converter.json")
            return cls()

    package = types.ModuleType("keras_hub")
    package.models = types.ModuleType("keras_hub.models")
    package.models.Backbone = Backbone
    package.layers = types.SimpleNamespace(ImageConverter=ImageConverter)
    monkeypatch.setitem(sys.modules, "keras_hub", package)
    monkeypatch.setitem(sys.modules, "keras_hub.models", package.models)
    return package


def test_a_preset_of_keras_hub(monkeypatch):
    package = hub(monkeypatch)
    own = package.models.Backbone.from_preset("whole", image_shape=SHAPE)
    name, x = "keras_hub.models.Backbone", images()
    encoder = build_encoder(name, SHAPE, preset="whole")
    converter = package.layers.ImageConverter
    expected = averaged(own, x * converter.scale + converter.offset)
    assert_near(encoder(x), expected)
    bare = build_encoder(name, SHAPE, preset="bare", value_range=(0, 1))
    assert_near(bare(x), averaged(own, x / 255.0))
    with pytest.raises(ValueError, match=r"no image converter; give value_ra"):
        build_encoder(name, SHAPE, preset="bare")
    with pytest.raises(ValueError, match=r"no Backbone .* Unknown") as caught:
        build_encoder(name, SHAPE, preset="other")
    assert "\n" not in str(caught.value)
    config = tiny_config()
    config.encoder = {"name": name, "preset": "whole"}
    validate(config)


def test_a_classifier_of_keras_hub():
    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.backbone, self.num_classes = network(), 3

        def call(self, x):
            return self.backbone(x)[:, 0, 0]

    classifier = Classifier()
    classifier(images())
    with pytest.raises(ValueError, match=r"Give its backbone, encoder\.backb"):
        minc_tf.build("simclr", classifier, projector_widths=(8, 4))
