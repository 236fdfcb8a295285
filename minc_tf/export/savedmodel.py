"""Write a trained model as a SavedModel. Needs Keras's TensorFlow backend."""

import json
import os
from importlib import metadata

import keras
import tensorflow as tf

from minc_tf.export.ordering import order_of, rotated_layers
from minc_tf.export.reusable import reusable, variables_of
from minc_tf.export.versions import find_version, write_version

MANIFEST = os.path.join("assets.extra", "manifest.json")


def export_savedmodel(
    model,
    directory: str | os.PathLike,
    *,
    image_shape: tuple[int, int, int] | None = None,
    version: int | None = None,
    recipe: dict | None = None,
) -> str:
    """Write a model's encoder and projector for serving and evaluation.

    The SavedModel has two signatures. Both take `images`, float32 (None, H, W,
    3) with pixel values 0..255, and return a dict with one float32 entry under
    the signature's own name, whatever the precision policy of the model:

    - `features`: the encoder's output, (None, F); also `serving_default`.
    - `embedding`: the projector's output, (None, d). After training with MINC
      its coordinates are in order of decreasing eigenvalue: with
      `triangular=False` they are rotated by `objective.rotation()`. The first
      one is close to the constant function.

    Both leave the weights alone. To train the encoder further, the object that
    `tf.saved_model.load` returns is a function itself, with the attributes
    `variables` and `trainable_variables`: the interface of TensorFlow Hub's
    reusable SavedModels, which `hub.KerasLayer` expects. Weights that are
    frozen in `model` can be trained there. On replicas each normalises its
    own part of the batch.

    `assets.extra/manifest.json` records shapes, eigenvalues, library versions
    and the recipe (`read_manifest`). The version appears at once, when it is
    complete; `model` is not changed.

    Args:
        model: a built `minc_tf.models.TwoViewModel`, or any object with
            `encoder`, `projector` and `objective`.
        directory: path of the folder that gets `<version>/`; made where
            missing.
        image_shape: (H, W, 3), in pixels; `None` takes the encoder's own,
            which then must be fixed.
        version: positive int; `None` takes the next free one.
        recipe: dict of the settings that `model` was trained with, as JSON
            can hold it; `None` where they are unknown.

    Returns:
        The path of the new version folder.

    Raises:
        TypeError: `model` lacks a part, `version` is not an int, or `recipe`
            is not a dict that JSON can hold.
        ValueError: the model is not built, `image_shape` is missing or wrong,
            `version` is taken, the second moment is not finite, or `directory`
            cannot be written.

    Example:
    ```python
    path = minc_tf.export.export_savedmodel(model, "savedmodels/shapes")
    served = tf.saved_model.load(path)
    images = tf.zeros((1, 32, 32, 3))
    features = served.signatures["features"](images=images)["features"]
    features = served(images, training=True)  # moves the batch statistics
    ```

    Source: https://www.tensorflow.org/tfx/serving/serving_basic and
    https://www.tensorflow.org/hub/reusable_saved_models
    """
    _check_model(model)
    _check_recipe(recipe)
    image_shape = _resolve_image_shape(model.encoder, image_shape)
    # Behind a predictor the objective orders the predictions, not these.
    objective = model.objective
    if getattr(model, "predictor", None) is not None:
        objective = None
    ordered, rotation, eigenvalues = order_of(objective)
    head = [model.projector]
    if rotation is not None:
        head = rotated_layers(model.projector, rotation)

    root = reusable(model.encoder, image_shape)
    encode = root.__call__

    def features(images):
        return {"features": encode(images)}

    def embedding(images):
        z = encode(images)
        for layer in head:
            z = layer(z, training=False)
        return {"embedding": keras.ops.cast(z, "float32")}

    images = tf.TensorSpec((None, *image_shape), tf.float32, "images")
    signatures, dims = {}, {}
    for function in (features, embedding):
        name = function.__name__
        traced = tf.function(function).get_concrete_function(images)
        shape = traced.structured_outputs[name].shape
        _check_output(name, shape)
        signatures[name], dims[name] = traced, shape[-1]
    signatures["serving_default"] = signatures["features"]
    # A variable that no attribute leads to cannot be saved.
    root.embedding_variables = variables_of(
        [model.encoder, *head], list(signatures.values())
    )

    manifest = {
        "image_shape": list(image_shape),
        "features_dim": dims["features"],
        "embedding_dim": dims["embedding"],
        "objective": type(model.objective).__name__,
        "embedding_ordered": ordered,
        "eigenvalues": None if eigenvalues is None else eigenvalues.tolist(),
        "versions": {
            "minc_tf": metadata.version("minc_tf"),
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
        "recipe": recipe,
    }

    def write(folder):
        tf.saved_model.save(root, folder, signatures)
        os.makedirs(os.path.dirname(os.path.join(folder, MANIFEST)))
        with open(os.path.join(folder, MANIFEST), "w") as file:
            json.dump(manifest, file, indent=2)
            file.write("\n")

    return write_version(directory, write, version)


def read_manifest(path: str | os.PathLike) -> dict | None:
    """Read the manifest of an exported model.

    Args:
        path: a version folder, or the folder of versions (the latest is read).

    Returns:
        The dict that `export_savedmodel` wrote, with the keys `image_shape`,
        `features_dim`, `embedding_dim`, `objective`, `embedding_ordered`,
        `eigenvalues`, `versions` and `recipe` (which exports of older versions
        lack); `None` for a SavedModel from elsewhere.

    Raises:
        FileNotFoundError: there is no SavedModel at `path`.

    Example:
    ```python
    minc_tf.export.read_manifest("savedmodels/shapes")["embedding_dim"]
    ```
    """
    try:
        with open(os.path.join(find_version(path), MANIFEST)) as file:
            return json.load(file)
    except FileNotFoundError:
        find_version(path)  # tells a missing SavedModel from a foreign one
        return None


def _check_model(model):
    for name in ("encoder", "projector", "objective"):
        part = getattr(model, name, None)
        if part is None:
            raise TypeError(
                "model must have encoder, projector and objective, received "
                f"{type(model).__name__} without {name}"
            )
        if name != "objective" and not part.built:
            raise ValueError(
                f"model must be built, received a model whose {name} has no "
                "weights yet; build it or call it on one batch of images first"
            )


def _check_recipe(recipe):
    if recipe is not None and not isinstance(recipe, dict):
        raise TypeError(
            "recipe must be a dict or None, received "
            f"{type(recipe).__name__}; of a config give config.to_dict()"
        )
    try:
        json.dumps(recipe, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"recipe must be a dict that JSON can hold, received {recipe!r} "
            f"({error})"
        ) from error


def _resolve_image_shape(encoder, image_shape):
    try:
        own = tuple(encoder.input_shape[1:])
    except (AttributeError, TypeError, ValueError):
        own = (None, None, None)  # a subclassed model knows no shape
    if image_shape is None:
        if len(own) != 3 or None in own:
            raise ValueError(
                "image_shape must be given as (height, width, 3), received "
                f"None, and the encoder's own is not fixed: {own}"
            )
        image_shape = own
    shape = tuple(image_shape)
    fits = len(shape) == 3 and shape[2] == 3
    fits = fits and all(isinstance(n, int) and n > 0 for n in shape)
    if not fits:
        raise ValueError(
            "image_shape must be (height, width, 3) in pixels, received "
            f"{image_shape!r}"
        )
    if len(own) != 3 or any(
        n not in (None, m) for n, m in zip(own, shape, strict=True)
    ):
        raise ValueError(
            f"image_shape must fit the encoder's {own}, received {shape}"
        )
    return shape


def _check_output(name, shape):
    if shape.rank != 2 or shape[-1] is None:
        part = "encoder" if name == "features" else "projector"
        raise ValueError(
            f"model.{part} must return vectors of shape (batch, {name}), "
            f"received {tuple(shape) if shape.rank else shape}"
        )
