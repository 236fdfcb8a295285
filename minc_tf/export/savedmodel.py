"""Write a trained model as a SavedModel. Needs Keras's TensorFlow backend."""

import os

import keras
import tensorflow as tf

from minc_tf._checks import check_choice, check_int
from minc_tf.data.limits import MAX_PIXELS, MOST_PIXELS
from minc_tf.export.checks import (
    check_described,
    check_model,
    check_output,
    resolve_image_shape,
)
from minc_tf.export.manifest import (
    describe_inputs,
    make_manifest,
    write_manifest,
)
from minc_tf.export.model_card import MODEL_CARD, model_card
from minc_tf.export.requests import (
    check_views,
    decode_requests,
    fit_images,
    some,
)
from minc_tf.export.reusable import (
    inference_and_training,
    reusable,
    variables_of,
)
from minc_tf.export.served import served_embedding
from minc_tf.export.value_range import PIXELS, check_value_range, to_pixels
from minc_tf.export.versions import write_version
from minc_tf.export.warmup import write_warmup

#: What `serving_default` can take.
_DEFAULTS = {"bytes": "serve_bytes", "views": "serve_views"}


def export_savedmodel(
    model: keras.Model,
    directory: str | os.PathLike,
    *,
    image_shape: tuple[int, int, int] | None = None,
    version: int | None = None,
    dims: int | None = None,
    whiten: bool = False,
    normalize: bool = False,
    max_pixels: int = MAX_PIXELS,
    serving_default: str = "bytes",
    value_range: tuple[float, float] = PIXELS,
    recipe: dict | None = None,
    evaluation: list[dict] | None = None,
    data_licence: str | None = None,
) -> str:
    """Write a model's encoder and projector for serving and evaluation.

    For servers there are four signatures, which return a dict of `features`,
    float32 (None, F), the encoder's output, and `embedding`, float32 (None, k),
    the projector's:

    - `serving_default`, and the same as `serve_bytes`: takes `image_bytes`,
      string (None,): JPEG or PNG files of any size, which are decoded, resized
      and cropped to the model's as `minc_tf.data` does for evaluation.
    - `serve_images`: takes `images`, uint8 (None, None, None, 3), of any size
      that they share, resized and cropped in the same way.
    - `serve_views`: takes `images`, float32 (None, H, W, 3), with values of
      `value_range`, 0..255.

    What is wrong with a request is an `InvalidArgumentError` that names the
    elements of the batch, as `image_bytes[3] is neither JPEG nor PNG`, or the
    shape that was expected: the graph checks shapes itself, since TensorFlow
    Serving does not. That of values a graph cannot check: images of 0..1
    where 0..255 is expected are very dark ones.

    Their `embedding` is as the options say. After training with MINC its
    coordinates are in order of decreasing eigenvalue (with `triangular=False`
    they are rotated by `objective.rotation()`) and the first of all d, close to
    the constant function, is left out; not of a projector that ends in a batch
    normalisation without offset, which takes that function out itself.

    For evaluation `features` and `embedding` take `images` as `serve_views`
    does, and return one float32 entry under their own name; `embedding` has all
    d coordinates.

    All leave the weights alone. To train the encoder further, the object that
    `tf.saved_model.load` returns is a function itself, with the attributes
    `variables` and `trainable_variables`: the interface of TensorFlow Hub's
    reusable SavedModels, which `hub.KerasLayer` expects. Weights that are
    frozen in `model` can be trained there. On replicas each normalises its
    own part of the batch.

    In `assets.extra/` are `manifest.json` (`read_manifest`), with
    `image_shape`, `features_dim`, `embedding_dim`, `objective`,
    `embedding_ordered`, `eigenvalues`, `served_embedding`, `dimension_names`,
    `preprocessing`, `signatures` (for each its inputs with `dtype`, `shape`
    and, of images, `value_range`),
    `recipe`, `evaluation`, `data_licence`, `commit` and `versions`;
    `model_card.md`; and `tf_serving_warmup_requests`. The version appears at
    once, when it is complete; `model` is not changed.

    Args:
        model: a built `minc_tf.models.TwoViewModel`, or any object with
            `encoder`, `projector` and `objective`.
        directory: path of the folder that gets `<version>/`; made where
            missing.
        image_shape: (H, W, 3), in pixels; `None` takes the encoder's own,
            which then must be fixed.
        version: positive int; `None` takes the next free one.
        dims: int, serve only the first coordinates of the embedding, which
            must be ordered; `None` for all.
        whiten: bool, divide each coordinate by the root of its eigenvalue.
        normalize: bool, scale embeddings to L2 norm 1, last of all.
        max_pixels: int, the most pixels of an encoded image. At most four
            images of a request are decoded at a time.
        serving_default: `"bytes"`, or `"views"` to make `serving_default` the
            same as `serve_views`, for runtimes that read no other signature
            and cannot decode images.
        value_range: tuple of the values of black and of white in float32
            images, of signatures and of the loaded function: `(0, 1)` for
            callers who have such images. It applies to neither files nor
            uint8 images.
        recipe: dict of the settings that `model` was trained with, as JSON
            can hold it; `None` where they are unknown.
        evaluation: list of dicts with `results`, as
            `minc_tf.evaluation.records.read_records` reads them.
        data_licence: str, the licence of the images it was trained on.

    Returns:
        The path of the new version folder.

    Raises:
        TypeError: `model` lacks a part, or an argument is of a wrong type or
            cannot be held by JSON.
        ValueError: the model is not built, `image_shape` is missing or wrong,
            `version` is taken, the second moment is not finite, the embedding
            cannot be served so, or `directory` cannot be written.

    Example:
    ```python
    path = minc_tf.export.export_savedmodel(model, "savedmodels/shapes")
    served = tf.saved_model.load(path)
    contents = tf.io.read_file("photo.jpg")[tf.newaxis]
    vectors = served.signatures["serving_default"](image_bytes=contents)
    features = served(images, training=True)  # moves the batch statistics
    ```

    Source: https://www.tensorflow.org/tfx/serving/serving_basic and
    https://www.tensorflow.org/hub/reusable_saved_models
    """
    check_model(model)
    check_described(recipe, evaluation, data_licence)
    check_int("max_pixels", max_pixels, 1, MOST_PIXELS, other_type=TypeError)
    check_choice("serving_default", serving_default, _DEFAULTS)
    value_range = check_value_range(value_range)
    image_shape = resolve_image_shape(model.encoder, image_shape)
    served = served_embedding(
        model, dims=dims, whiten=whiten, normalize=normalize
    )

    encode = inference_and_training(model.encoder)
    root = reusable(
        model.encoder, image_shape, encode=encode, value_range=value_range
    )
    signatures = _signatures(
        encode, served, image_shape, max_pixels, value_range
    )
    manifest = make_manifest(
        model,
        served,
        image_shape=image_shape,
        features_dim=_dim(signatures, "features"),
        embedding_dim=_dim(signatures, "embedding"),
        max_pixels=max_pixels,
        value_range=value_range,
        recipe=recipe,
        evaluation=evaluation,
        data_licence=data_licence,
    )
    signatures["serving_default"] = signatures[_DEFAULTS[serving_default]]
    manifest["signatures"] = {
        name: describe_inputs(
            tf.nest.flatten(function.structured_input_signature), value_range
        )
        for name, function in sorted(signatures.items())
    }
    # A variable that no attribute leads to cannot be saved.
    root.embedding_variables = variables_of(
        [model.encoder, *served.layers], list(signatures.values())
    )
    name = os.path.basename(os.path.abspath(directory))

    def write(folder):
        tf.saved_model.save(root, folder, signatures)
        write_manifest(folder, manifest)
        write_warmup(folder, signatures, value_range)
        card = os.path.join(folder, MODEL_CARD)
        with open(card, "w", encoding="utf-8") as file:
            file.write(model_card(name, manifest, signatures))

    return write_version(directory, write, version)


def _signatures(encode, served, image_shape, max_pixels, value_range):
    """All signatures but the default one, by name; `encode` takes 0..255."""
    size = image_shape[:2]

    @tf.function
    def both(images):
        features = encode(images)
        z = served.select(served.project(features))
        return {"features": features, "embedding": z}

    def pixels(images):
        return to_pixels(some("images", images), value_range)

    def features(images):
        return {"features": encode(pixels(images))}

    def embedding(images):
        return {"embedding": served.project(encode(pixels(images)))}

    def serve_views(images):
        return both(check_views(pixels(images)))

    def serve_images(images):
        return both(tf.cast(fit_images(images, size), tf.float32))

    def serve_bytes(image_bytes):
        images = decode_requests(image_bytes, size, max_pixels)
        return both(tf.cast(images, tf.float32))

    views = tf.TensorSpec((None, *image_shape), tf.float32, "images")
    images = tf.TensorSpec((None, None, None, 3), tf.uint8, "images")
    image_bytes = tf.TensorSpec((None,), tf.string, "image_bytes")
    specs = {
        features: views,
        embedding: views,
        serve_views: views,
        serve_images: images,
        serve_bytes: image_bytes,
    }
    signatures = {}
    for function, spec in specs.items():
        name = function.__name__
        traced = _checked(function, spec).get_concrete_function(spec)
        if name in traced.structured_outputs:
            check_output(name, traced.structured_outputs[name].shape)
        signatures[name] = traced
    return signatures


def _checked(function, spec):
    """A function that refuses a tensor of another shape before it begins.

    A server feeds the graph anything, and oneDNN's kernels end the process.
    """

    @tf.function
    def checked(batch):
        return function(tf.ensure_shape(batch, spec.shape))

    return checked


def _dim(signatures, name):
    return signatures[name].structured_outputs[name].shape[-1]
