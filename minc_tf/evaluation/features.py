"""Features of labelled images, from a SavedModel or a live encoder."""

import os
import weakref
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from minc_tf.diagnostics.vectors import check_features
from minc_tf.export import SavedEncoder, load_savedmodel
from minc_tf.export.saved_encoder import check_image_shape
from minc_tf.objectives import replicas

#: The compiled inference of models, by `id`, while somebody holds it: what
#: watches a run shares one. It holds its model, so that no id is used twice.
_FUNCTIONS = weakref.WeakValueDictionary()


def encoder_function(model: keras.Model) -> Callable:
    """Compile a live encoder's inference.

    The function is traced once and reads the weights afresh at every call, so
    it can be kept while the encoder trains. The replicas of a model of several
    share the images (then every worker calls it in step).

    Args:
        model: Keras model, images (B, H, W, 3) -> features (B, F).

    Returns:
        Function from images, 0..255, any dtype, to a float32 tensor (B, F).

    Example:
    ```python
    encode = encoder_function(model.encoder)
    features = encode(images)
    ```
    """
    known = _FUNCTIONS.get(id(model))
    if known is not None:
        return known
    strategy = getattr(model, "distribute_strategy", None)
    count = 1 if strategy is None else strategy.num_replicas_in_sync
    expected = _image_shape(model)
    traced = tf.function(reduce_retracing=True)
    if expected is not None:  # one trace, whatever the size of the last batch
        spec = tf.TensorSpec((None, *expected), tf.float32)
        traced = tf.function(input_signature=[spec])

    @traced
    def infer(images):
        return tf.cast(model(images, training=False), tf.float32)

    @traced
    def infer_on_replicas(images):
        def share(images):
            rows = replicas.own_rows(tf.shape(images)[0] // count)
            own = model(tf.gather(images, rows), training=False)
            return replicas.gather(tf.cast(own, tf.float32))

        whole = strategy.run(share, args=(images,))
        return strategy.experimental_local_results(whole)[0]

    def encode(images):
        if expected is not None:
            check_image_shape(images.shape[1:], expected)
        images = tf.cast(images, tf.float32)
        if count == 1:
            return infer(images)
        # Every replica gets as many; what fills up is cut off again.
        rows = tf.minimum(
            tf.range(-(-len(images) // count) * count), len(images) - 1
        )
        return infer_on_replicas(tf.gather(images, rows))[: len(images)]

    _FUNCTIONS[id(model)] = encode
    return encode


def extract(
    model_or_path: "str | os.PathLike | SavedEncoder | keras.Model | Callable",
    batches: tf.data.Dataset,
    output: str = "features",
    *,
    verbose: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the features of every image of a data set.

    Args:
        model_or_path: path of an exported SavedModel (a version folder, or
            their folder: the latest), a `SavedEncoder`, a Keras model that is
            the live encoder, or a function of `encoder_function`.
        batches: finite `tf.data.Dataset` of dicts `image`: (b, H, W, 3), pixel
            values 0..255, and `label`: int64 (b,), -1 where unknown.
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
    batches: tf.data.Dataset, *, verbose: int = 0
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
        flat = tf.reshape(images, (images.shape[0], -1))
        return tf.cast(flat, tf.float32)

    return _collect(flatten, batches, verbose)


def check_finite(batches: tf.data.Dataset) -> int:
    """Return the number of batches, negative where unknown; refuse no end."""
    count = int(batches.cardinality())
    if count == tf.data.INFINITE_CARDINALITY:
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
    if isinstance(model, (str, os.PathLike, SavedEncoder)):
        return load_savedmodel(model).signature(output)
    if output != "features":
        raise ValueError(
            "output must be 'features' for a live encoder; received "
            f"{output!r}; other outputs need an exported SavedModel"
        )
    if isinstance(model, keras.Model):
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
