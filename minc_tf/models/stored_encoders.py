"""Encoders, and weights for them, from files and presets."""

import importlib
import os
import pathlib

import keras

from minc_tf._checks import refusal
from minc_tf._pixels import PIXELS

#: What `keras.Model.save` writes.
_SUFFIXES = (".keras", ".h5", ".hdf5")
_WEIGHTS = ".weights.h5"


def names_file(name: str) -> bool:
    """Whether the name of an encoder is the path of a file."""
    return name.lower().endswith(_SUFFIXES) or os.path.exists(name)


def load_encoder(
    path: str, setting: str = "build_encoder: name"
) -> keras.Model:
    """The model in a file; of a model that this library trained its encoder.

    `setting` is what the user calls the path.
    """
    if path.endswith(_WEIGHTS):
        raise refusal(
            setting,
            "a network, with weights='FILE.weights.h5' beside it",
            path,
        )
    _check_file(setting, path)
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # of zip, HDF5, JSON, and of any layer
        raise ValueError(
            f"{setting}={path!r} cannot be loaded as the encoder, it gives no "
            f"Keras model: {_line(error)} What needs classes of your own is "
            "loaded by a function of your own, 'package.module:Name'."
        ) from error
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"{setting}={path!r} must hold a Keras model; it holds a "
            f"{type(model).__name__}."
        )
    # A `TwoViewModel`, whose module imports that of the encoders.
    return model.encoder if hasattr(model, "projector") else model


def load_weights(
    network: keras.Model,
    path: str | os.PathLike,
    setting: str = "build_encoder: weights",
) -> None:
    """Loads a file of weights into a network that is built.

    `setting` is what the user calls the path.
    """
    path = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(path, str) or not path.endswith(_SUFFIXES):
        wanted = f"a file {', '.join((_WEIGHTS, *_SUFFIXES))}"
        raise refusal(setting, wanted, path)
    _check_file(setting, path)
    try:
        network.load_weights(path)
    except Exception as error:  # of zip, HDF5, and of any layer
        raise ValueError(
            f"{setting}={path!r} are not those of {network.name!r}: "
            f"{_line(error)}"
        ) from error


def load_preset(backbone, image_shape, value_range, *, preset, **kwargs):
    """A backbone of KerasHub, and the scale and offset that it expects.

    These are None where `value_range` says what is expected.
    """
    try:
        network = backbone.from_preset(
            preset, image_shape=image_shape, **kwargs
        )
    except Exception as error:  # of the network, of files, of any layer
        raise ValueError(
            f"build_encoder: preset={preset!r} gives no "
            f"{backbone.__name__} for images {image_shape}: {_line(error)}"
        ) from error
    if value_range is not None:
        return network, None, None
    converter = importlib.import_module("keras_hub").layers.ImageConverter
    try:
        found = converter.from_preset(preset)
    except Exception as error:  # as above
        raise ValueError(
            f"build_encoder: preset={preset!r} has no image converter; give "
            "value_range=(low, high), the pixels that its network expects."
        ) from error
    return network, found.scale, found.offset


def scaled(value_range) -> keras.layers.Layer | None:
    """The layer from pixels of 0 to 255 to another range; None for these."""
    if value_range in (None, PIXELS):
        return None
    low, high = value_range
    return keras.layers.Rescaling((high - low) / 255.0, low, name="scaled")


def _check_file(setting, path):
    if pathlib.Path(path).is_dir():
        raise refusal(
            setting,
            "a file that keras.Model.save wrote",
            path,
            ", which is a folder.",
        )
    if not os.path.isfile(path):
        raise ValueError(
            f"{setting}={path!r} does not exist, seen from {os.getcwd()}."
        )


def _line(error):
    """What an error says first, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}".rstrip(".") + "."
