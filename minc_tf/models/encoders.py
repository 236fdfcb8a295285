"""Encoders by name, and any Keras model as an encoder."""

import functools
import importlib
import sys

import keras
from keras import layers

from minc_tf._checks import did_you_mean
from minc_tf._registry import Registry
from minc_tf.models.channels import channels_last
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
    name: str | keras.Model, image_shape: tuple[int, int, int], **kwargs
) -> keras.Model:
    """Builds an encoder by name.

    Args:
        name: `"resnet18"`, `"resnet34"`, `"resnet50"`, `"small_resnet"`; the
            dotted name of a model of keras.applications, keras_cv.models or
            keras_hub.models (`"keras.applications.EfficientNetB0"`), with
            random weights, its own preprocessing of pixels and synchronised
            batch statistics; `"package.module:Name"`, a function (or class)
            of your own that takes `image_shape` and returns a Keras model,
            which sees pixels of 0 to 255; or a Keras model.
        image_shape: (height, width, channels) of the images.
        **kwargs: further arguments of the builder (`width=2`, `stem="cifar"`).

    Returns:
        A Keras model from images (B, H, W, C), values 0 to 255, to features
        (B, F).

    Raises:
        ValueError: for an unknown name (the nearest is given), one that
            cannot be imported or gives no Keras model, or for further
            arguments beside a model.
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
    if isinstance(name, keras.Model):
        if kwargs:
            raise ValueError(
                f"build_encoder: {name.name!r} is a model already; received "
                f"arguments for its builder: {sorted(kwargs)}."
            )
        return as_encoder(name, image_shape)
    if name in ENCODERS:
        return ENCODERS[name](image_shape=image_shape, **kwargs)
    if ":" in name:
        return _imported(name, image_shape, kwargs)
    library, _, attribute = name.rpartition(".")
    if library not in _LIBRARIES:
        raise ValueError(
            f"build_encoder: unknown encoder {name!r}"
            f"{did_you_mean(name, ENCODERS)} Known are {', '.join(ENCODERS)}, "
            f"dotted names in {', '.join(_LIBRARIES)}, and "
            "'package.module:Name'."
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
    if library == "keras.applications":
        encoder = _application(builder, attribute, image_shape, kwargs)
    elif library == "keras_cv.models":
        kwargs = {"include_rescaling": True, **kwargs}
        encoder = as_encoder(builder(input_shape=image_shape, **kwargs))
    else:
        network = builder(image_shape=image_shape, **kwargs)
        encoder = as_encoder(network, image_shape)
    if keras.backend.backend() == "tensorflow":
        for norm in unsynchronized_norms(encoder):
            norm.synchronized = True  # as in the encoders of this library
    return encoder


def as_encoder(
    model: keras.Model, image_shape: tuple[int, int, int] | None = None
) -> keras.Model:
    """Makes an encoder of a Keras model: features (B, F) from images.

    Args:
        model: a model from images to features (B, F), or to feature maps
            (B, h, w, F), which are averaged. It sees pixels of 0 to 255.
        image_shape: (height, width, channels); needed if the model is not
            built.

    Returns:
        `model` itself if it gives features already, else a model around it.

    Raises:
        ValueError: if the output is neither, or the image shape is unknown.
            Maps whose channels come first have to be pooled beforehand.

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
    if image_shape is None:
        known = image_shape_of(model)
        if known is None:
            raise ValueError(
                "as_encoder: image_shape=(height, width, channels) is needed "
                f"for {model.name!r}, which is not built."
            )
        image_shape = known[1:]
    images = keras.Input(image_shape, name="images")
    outputs = model(images)
    rank = len(outputs.shape) if hasattr(outputs, "shape") else None
    check_no_classifier("as_encoder", model)
    if rank == 2:
        return model
    if rank != 4:
        found = rank and tuple(outputs.shape)
        raise ValueError(
            "as_encoder: the model must give one tensor, (batch, dim) or "
            f"(batch, height, width, dim); {model.name!r} gives "
            f"{found or type(outputs).__name__}."
        )
    _check_channels_last(model)
    with channels_last():
        features = layers.GlobalAveragePooling2D(
            dtype="float32", name="features"
        )
    return keras.Model(images, features(outputs), name=model.name)


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
    """Shape of what a built encoder gives.

    Args:
        caller: string, for the message.
        encoder: Keras model.

    Raises:
        ValueError: if it is not known yet, or no features but probabilities.
    """
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


def _application(builder, attribute, image_shape, kwargs):
    """A model of keras.applications behind its own preprocessing."""
    kwargs = {"include_top": False, "weights": None, "pooling": "avg", **kwargs}
    network = builder(input_shape=image_shape, **kwargs)
    preprocess = sys.modules[builder.__module__].preprocess_input
    images = keras.Input(image_shape, name="images")
    features = network(preprocess(images))
    return keras.Model(images, features, name=attribute.lower())


def _imported(name, image_shape, kwargs):
    """The encoder of a user's own function."""
    builder = ENCODERS.find(name, "build_encoder: name")
    model = builder(image_shape=image_shape, **kwargs)
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"build_encoder: {name!r} must return a Keras model; it returned "
            f"{type(model).__name__}."
        )
    return as_encoder(model, image_shape)
