"""Encoders by name, and any Keras model as an encoder."""

import functools
import importlib
import inspect
import sys
from typing import Any

import keras
from keras import layers

from minc_tf._checks import did_you_mean, shapes_fit
from minc_tf._pixels import check_value_range
from minc_tf._registry import Registry
from minc_tf.models import stored_encoders
from minc_tf.models.backend import channels_last
from minc_tf.models.replication import unsynchronized_norms
from minc_tf.models.resnet import resnet, small_resnet

#: Libraries whose models can be named, with what their models lack.
_LIBRARIES = ("keras.applications", "keras_cv.models", "keras_hub.models")

#: The encoders by their names in settings.
ENCODERS = Registry(
    "encoder",
    {
        "resnet18": functools.partial(resnet, 18),
        "resnet34": functools.partial(resnet, 34),
        "resnet50": functools.partial(resnet, 50),
        "small_resnet": small_resnet,
    },
)


@channels_last()
def build_encoder(
    name: str | keras.Model,
    image_shape: tuple[int, int, int],
    *,
    weights: str | None = None,
    value_range: tuple[float, float] | None = None,
    **kwargs: Any,
) -> keras.Model:
    """Builds an encoder by name.

    Args:
        name: `"resnet18"`, `"resnet34"`, `"resnet50"`, `"small_resnet"`; the
            dotted name of a model of keras.applications, keras_cv.models or
            keras_hub.models (`"keras.applications.EfficientNetB0"`), with
            random weights and synchronised batch statistics; the path of a
            file that `keras.Model.save` wrote; `"package.module:Name"`, a
            function (or class) of your own that takes `image_shape` and
            returns a Keras model; or a Keras model.
        image_shape: (height, width, channels) of the images.
        weights: string, a file of `keras.Model.save_weights` or `save` to
            load into the network; of keras.applications also `"imagenet"`.
        value_range: (low, high), what the network expects, for a file, a
            model or a backbone of KerasHub; None is 0 to 255, or for a preset
            of KerasHub what its image converter does. Other names do their
            own preprocessing.
        **kwargs: further arguments of the builder (`width=2`, `stem="cifar"`);
            `preset` of a KerasHub backbone is one of `from_preset`.

    Returns:
        A Keras model from images (B, H, W, C), values 0 to 255, to features
        (B, F).

    Raises:
        ValueError: for an unknown name (the nearest is given), one that
            cannot be imported, a file that cannot be read or gives no Keras
            model, a network for other images or that gives no features, or
            arguments that it does not take.
        ImportError: if the library of the name is not installed.

    Example:
    ```python
    import minc_tf

    encoder = minc_tf.models.build_encoder(
        "resnet18", (32, 32, 3), stem="cifar"
    )
    ```
    """
    image_shape = tuple(image_shape)
    given = {"weights": weights, "value_range": value_range}
    given = {key: value for key, value in given.items() if value is not None}
    if isinstance(name, keras.Model):
        network = name
    elif name in ENCODERS:
        network = ENCODERS[name](image_shape=image_shape, **kwargs)
        _check_own_range(name, given)
    elif stored_encoders.names_file(name):
        network = stored_encoders.load_encoder(name)
    elif ":" in name:
        network = _imported(name, image_shape, kwargs, given)
        _check_own_range(name, given)
    else:
        return _of_library(name, image_shape, kwargs, given)
    if kwargs and (network is name or stored_encoders.names_file(name)):
        raise ValueError(
            f"build_encoder: {network.name!r} is a model already; received "
            f"arguments for its builder: {sorted(kwargs)}."
        )
    return _finished(network, image_shape, given)


def as_encoder(
    model: keras.Model,
    image_shape: tuple[int, int, int] | None = None,
    *,
    value_range: tuple[float, float] | None = None,
) -> keras.Model:
    """Makes an encoder of a Keras model: features (B, F) from images.

    Args:
        model: a model from images to features (B, F), or to feature maps
            (B, h, w, F), which are averaged.
        image_shape: (height, width, channels); needed if the model is not
            built.
        value_range: (low, high) of the pixels that the model expects; None is
            0 to 255. The encoder takes 0 to 255 in any case.

    Returns:
        `model` itself if it gives features from pixels of 0 to 255 already,
        else a model around it.

    Raises:
        ValueError: if the output is neither, the model takes other images,
            or the image shape is unknown. Maps whose channels come first have
            to be pooled beforehand.

    Example:
    ```python
    import keras, minc_tf

    maps = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Conv2D(8, 3)]
    )
    encoder = minc_tf.models.as_encoder(maps)
    print(encoder.output_shape)  # (None, 8)
    ```
    """
    known = image_shape_of(model)
    if image_shape is None:
        if known is None:
            raise ValueError(
                "as_encoder: image_shape=(height, width, channels) is needed "
                f"for {model.name!r}, which is not built."
            )
        image_shape = known[1:]
    if value_range is not None:
        value_range = check_value_range("as_encoder", value_range)
    check_no_classifier("as_encoder", model)
    _check_images(model, image_shape)
    images = keras.Input(image_shape, name="images")
    scaled = stored_encoders.scaled(value_range)
    outputs = model(images if scaled is None else scaled(images))
    rank = len(outputs.shape) if hasattr(outputs, "shape") else None
    if rank not in (2, 4):
        found = rank and tuple(outputs.shape)
        tokens = " Of tokens take one: keras.Model(m.input, m.output[:, 0])."
        raise ValueError(
            "as_encoder: the model must give one tensor, (batch, dim) or "
            f"(batch, height, width, dim); {model.name!r} gives "
            f"{found or type(outputs).__name__}.{tokens * (rank == 3)}"
        )
    if rank == 2 and scaled is None:
        return model
    if rank == 4:
        _check_channels_last(model)
        with channels_last():
            pool = layers.GlobalAveragePooling2D(
                dtype="float32", name="features"
            )
        outputs = pool(outputs)
    return keras.Model(images, outputs, name=model.name)


def image_shape_of(encoder: keras.Layer) -> tuple | None:
    """Shape (None, H, W, C) of what a built encoder takes, or None.

    That of a subclass is what it was called on first.
    """
    if not encoder.built:
        return None
    if isinstance(getattr(encoder, "inputs", None), list):
        return tuple(encoder.inputs[0].shape)
    shape = (encoder.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, tuple | list) or len(shape) != 4:
        return None
    return (None, *shape[1:])


def output_shape_of(caller: str, encoder: keras.Layer) -> tuple | None:
    """Shape of what a built encoder gives, where it is known; else None."""
    check_no_classifier(caller, encoder)
    if isinstance(getattr(encoder, "inputs", None), list):
        return getattr(encoder, "output_shape", None)
    shape = image_shape_of(encoder)
    if shape is None:
        raise ValueError(
            f"{caller}: encoder must be built; {encoder.name!r} is not. Call "
            "it once on a batch of images (B, H, W, C)."
        )
    return getattr(encoder(keras.KerasTensor(shape)), "shape", None)


def check_no_classifier(caller: str, encoder: keras.Layer) -> None:
    """Refuses a model that ends in a softmax, with a ValueError."""
    if hasattr(encoder, "backbone") and hasattr(encoder, "num_classes"):
        raise ValueError(  # of KerasHub
            f"{caller}: encoder must give features; {encoder.name!r} is a "
            "classifier. Give its backbone, encoder.backbone."
        )
    last = encoder
    while getattr(last, "layers", None):
        last = last.layers[-1]
    activation = getattr(last, "activation", None)
    if activation is keras.activations.softmax or isinstance(
        last, layers.Softmax
    ):
        raise ValueError(
            f"{caller}: encoder must give features; {encoder.name!r} ends in "
            "a softmax over classes. Make it without its top "
            "(include_top=False, pooling='avg')."
        )


def _check_channels_last(model):
    """Refuses maps of which it is not known which axis is which."""
    for layer in model._flatten_layers():
        if getattr(layer, "data_format", None) == "channels_first":
            raise ValueError(
                "as_encoder: the model must give maps (batch, height, width, "
                f"dim); {layer.name!r} of {model.name!r} works on "
                "channels_first. Make it with channels_last, or pool its maps."
            )


def _check_images(model, image_shape):
    """Refuses a functional model of other images than these."""
    taken = getattr(model, "inputs", None)
    if not isinstance(taken, list):
        return
    if len(taken) != 1:
        raise ValueError(
            f"as_encoder: the model must take one tensor, images; "
            f"{model.name!r} takes {len(taken)}."
        )
    shape = tuple(taken[0].shape)[1:]
    if not shapes_fit(shape, image_shape):
        raise ValueError(
            f"as_encoder: {model.name!r} takes images {shape}; received "
            f"image_shape={tuple(image_shape)}."
        )


def _check_own_range(name, given):
    """Refuses `value_range` for what takes pixels of 0 to 255."""
    if "value_range" in given:
        raise ValueError(
            f"build_encoder: {name!r} has its own preprocessing; received "
            f"value_range={given['value_range']!r}."
        )


def _finished(network, image_shape, given):
    """The encoder around a network, with the weights that are given."""
    encoder = as_encoder(
        network, image_shape, value_range=given.get("value_range")
    )
    if "weights" in given:
        stored_encoders.load_weights(network, given["weights"])
    return encoder


def _of_library(name, image_shape, kwargs, given):
    """The encoder of a dotted name."""
    library, _, attribute = name.rpartition(".")
    if library not in _LIBRARIES:
        raise ValueError(
            f"build_encoder: unknown encoder {name!r}"
            f"{did_you_mean(name, ENCODERS)} Known are {', '.join(ENCODERS)}, "
            f"dotted names in {', '.join(_LIBRARIES)}, "
            "'package.module:Name', and paths of files (.keras)."
        )
    try:
        module = importlib.import_module(library)
    except ImportError as error:
        raise ImportError(
            f"build_encoder: {name!r} needs {library.split('.')[0]!r}, which "
            "is not installed."
        ) from error
    builder = getattr(module, attribute, None)
    if not callable(builder):
        names = [n for n in dir(module) if callable(getattr(module, n))]
        raise ValueError(
            f"build_encoder: {library} has no model {attribute!r}"
            f"{did_you_mean(attribute, names)}"
        )
    if library == "keras_hub.models":
        return _hub(builder, image_shape, dict(kwargs), given)
    _check_own_range(name, given)
    if library == "keras.applications":
        return _application(builder, image_shape, {**given, **kwargs})
    kwargs = {"include_rescaling": True, **kwargs}
    network = builder(input_shape=image_shape, **kwargs)
    return _finished(_synchronized(network), image_shape, given)


def _hub(builder, image_shape, kwargs, given):
    """The encoder of a KerasHub backbone, from a preset or from arguments."""
    scale = offset = None
    if "preset" in kwargs:
        network, scale, offset = stored_encoders.load_preset(
            builder, image_shape, given.get("value_range"), **kwargs
        )
    else:
        network = builder(image_shape=image_shape, **kwargs)
    encoder = _finished(_synchronized(network), image_shape, given)
    if scale is None and offset is None:
        return encoder
    images = keras.Input(image_shape, name="images")
    scaled = layers.Rescaling(
        1.0 if scale is None else scale,
        0.0 if offset is None else offset,
        name="scaled",
    )
    return keras.Model(images, encoder(scaled(images)), name=network.name)


def _synchronized(encoder):
    """The same, with batch statistics of all replicas, as in this library."""
    if keras.backend.backend() == "tensorflow":
        for norm in unsynchronized_norms(encoder):
            norm.synchronized = True
    return encoder


def _application(builder, image_shape, kwargs):
    """A model of keras.applications after its own preprocessing."""
    kwargs = {"include_top": False, "weights": None, "pooling": "avg", **kwargs}
    file = None
    if kwargs["weights"] not in (None, "imagenet"):
        file, kwargs["weights"] = kwargs["weights"], None
    try:
        network = builder(input_shape=image_shape, **kwargs)
    except (TypeError, ValueError):
        raise
    except Exception as error:  # as Keras raises where there is no network
        raise OSError(
            f"build_encoder: weights={kwargs['weights']!r} of "
            f"{builder.__name__} cannot be had: {error}"
        ) from error
    _synchronized(network)
    if file is not None:
        stored_encoders.load_weights(network, file)
    preprocess = sys.modules[builder.__module__].preprocess_input
    images = keras.Input(image_shape, name="images")
    features = network(preprocess(images))
    return keras.Model(images, features, name=builder.__name__.lower())


def _imported(name, image_shape, kwargs, given):
    """The network of a user's own function, which gets what it can take."""
    builder = ENCODERS.find(name, "build_encoder: name")
    parameters = inspect.signature(builder).parameters
    open_ended = any(p.kind == p.VAR_KEYWORD for p in parameters.values())
    for key in [key for key in given if open_ended or key in parameters]:
        kwargs[key] = given.pop(key)
    model = builder(image_shape=image_shape, **kwargs)
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"build_encoder: {name!r} must return a Keras model; it returned "
            f"{type(model).__name__}."
        )
    return model
