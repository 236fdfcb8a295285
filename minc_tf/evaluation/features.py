"""Features of labelled images, from a SavedModel or a live encoder."""

import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
import numpy as np

from minc_tf.diagnostics.vectors import check_features

if TYPE_CHECKING:
    import tensorflow as tf

    from minc_tf.export import SavedEncoder

#: The compiled inference of models, by `id`, while somebody holds it: what
#: watches a run shares one. It holds its model, so that no id is used twice.
_FUNCTIONS = weakref.WeakValueDictionary()

#: `tf.data.INFINITE_CARDINALITY`.
_ENDLESS = -1


def encoder_function(model: keras.Model) -> Callable:
    """Compile a live encoder's inference.

    The function is traced once and reads the weights afresh at every call, so
    it can be kept while the encoder trains. The replicas of a model of several,
    or the devices that share batches on JAX, share the images (then every
    worker calls it in step).

    Args:
        model: Keras model, images (B, H, W, 3) -> features (B, F).

    Returns:
        Function from images, 0..255, any dtype, to a float32 tensor (B, F); on
        JAX to an array.

    Example:
    ```python
    encode = encoder_function(model.encoder)
    features = encode(images)
    ```
    """
    known = _FUNCTIONS.get(id(model))
    if known is not None:
        return known
    if keras.backend.backend() == "jax":
        from minc_tf.evaluation.jax_features import compile_inference
    else:
        from minc_tf.evaluation.tensorflow_features import compile_inference
    encode = compile_inference(model, _image_shape(model))
    _FUNCTIONS[id(model)] = encode
    return encode


def extract(
    model_or_path: "str | os.PathLike | SavedEncoder | keras.Model | Callable",
    batches: "tf.data.Dataset | list",
    output: str = "features",
    *,
    verbose: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the features of every image of a data set.

    Args:
        model_or_path: path of an exported SavedModel (a version folder, or
            their folder: the latest), a `SavedEncoder`, a Keras model that is
            the live encoder, or a function of `encoder_function`.
        batches: finite `tf.data.Dataset`, or list, of dicts `image`: (b, H, W,
            3), pixel values 0..255, and `label`: int64 (b,), -1 where unknown.
        output: str, the signature of the SavedModel to run; a live encoder has
            only `"features"`.
        verbose: int, 1 shows a progress bar with rate and remaining time.

    Returns:
        Tuple `(features, labels)`: float32 (N, D) and int64 (N,), in the order
        of the data set.

    Raises:
        FileNotFoundError: there is no SavedModel at the path.
        TypeError: `model_or_path` is none of the above.
        ValueError: unknown `output`, images of a wrong shape, an empty or
            endless data set, features that are not finite.

    Example:
    ```python
    test = minc_tf.data.load("shapes", split="test").examples(256)
    x, y = minc_tf.evaluation.extract("savedmodels/shapes", test)
    ```
    """
    encode = _encode(model_or_path, output)
    features, labels = _collect(encode, batches, verbose)
    return check_features(output, features), labels


def raw_pixels(
    batches: "tf.data.Dataset | list", *, verbose: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Take the pixels themselves as features: the baseline of no learning.

    Args:
        batches: finite `tf.data.Dataset` as for `extract`.
        verbose: int, 1 shows a progress bar.

    Returns:
        Tuple `(features, labels)`: float32 (N, H * W * 3), 0..255, and int64
        (N,).

    Raises:
        ValueError: an empty or endless data set.

    Example:
    ```python
    x, y = raw_pixels(minc_tf.data.load("shapes").examples(256))
    ```
    """

    def flatten(images):
        return np.reshape(images, (len(images), -1)).astype("float32")

    return _collect(flatten, batches, verbose)


def check_finite(batches: "tf.data.Dataset | list") -> int:
    """Return the number of batches, negative where unknown; refuse no end."""
    if not hasattr(batches, "cardinality"):
        return len(batches)
    count = int(batches.cardinality())
    if count == _ENDLESS:
        raise ValueError(
            "batches must be finite; received a data set that repeats forever"
        )
    return count


def _image_shape(model):
    """The shape of a model's images, None where it is not known."""
    try:
        return getattr(model, "encoder", model).input_shape[1:]
    except (AttributeError, TypeError, ValueError):
        return None  # a subclassed model


def _encode(model, output):
    live = isinstance(model, keras.Model)
    if isinstance(model, (str, os.PathLike)) or (
        not live and hasattr(model, "signature")
    ):
        from minc_tf.export import load_savedmodel

        return load_savedmodel(model).signature(output)
    if output != "features":
        raise ValueError(
            "output must be 'features' for a live encoder; received "
            f"{output!r}; other outputs need an exported SavedModel"
        )
    if live:
        return encoder_function(model)
    if callable(model):
        return model
    raise TypeError(
        "model_or_path must be a path, a SavedEncoder, a Keras model or a "
        f"function; received {type(model).__name__}"
    )


def _collect(encode, batches, verbose):
    count = check_finite(batches)
    bar = None
    if verbose:
        bar = keras.utils.Progbar(
            count if count > 0 else None, unit_name="batch"
        )
    features, labels = [], []
    for batch in batches:
        _check_batch(batch)
        vectors = np.asarray(encode(batch["image"]))
        images = len(batch["image"])
        if vectors.ndim != 2 or len(vectors) != images:
            raise ValueError(
                "the model must return vectors of shape (batch, features); "
                f"received shape {vectors.shape} for {images} images"
            )
        features.append(vectors)
        labels.append(np.asarray(batch["label"], "int64"))
        if bar:
            bar.add(1)
    if not features:
        raise ValueError("batches must hold images; received none")
    if bar and count < 0:
        bar.target = len(features)
        bar.update(len(features), finalize=True)
    return np.concatenate(features), np.concatenate(labels)


def _check_batch(batch):
    if not isinstance(batch, dict) or not {"image", "label"} <= set(batch):
        found = list(batch) if isinstance(batch, dict) else type(batch).__name__
        raise ValueError(
            f"batches must yield dicts with image and label; received {found}"
        )
