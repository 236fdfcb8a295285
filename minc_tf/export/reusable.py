"""The interface by which an exported encoder can be trained further."""

import contextlib
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from minc_tf.export.value_range import PIXELS, to_pixels

#: Of moving statistics, at most, where an export is trained further.
_MOMENTUM = 0.9


def inference_and_training(encoder: keras.Layer) -> Callable:
    """A `tf.function` of images, 0..255, and `training` to float32 (B, F)."""

    @tf.function
    def encode(images, training=False):
        with prepared(encoder):  # here, for saving traces anew
            features = encoder(images, training=training)
        return keras.ops.cast(features, "float32")

    return encode


def reusable(
    encoder: keras.Layer,
    image_shape: tuple[int, int, int],
    *,
    encode: Callable | None = None,
    value_range: tuple[float, float] = PIXELS,
) -> tf.train.Checkpoint:
    """Make an object that `tf.saved_model.save` writes as a reusable encoder.

    Weights that are frozen in `encoder`, which is not changed, are trainable
    here: freezing is for each run to choose, as are regularisers.
    https://www.tensorflow.org/hub/reusable_saved_models
    """
    encode = encode or inference_and_training(encoder)

    @tf.function
    def call(images, training=False):
        return encode(to_pixels(images, value_range), training=training)

    images = tf.TensorSpec((None, *image_shape), tf.float32, "images")
    traces = [
        call.get_concrete_function(images, training=training)
        for training in (True, False)  # only the first may create state
    ]
    with prepared(encoder):
        trainable = [v.value for v in encoder.trainable_variables]
    root = tf.train.Checkpoint()
    root.__call__ = call
    root.variables = variables_of([encoder], traces)
    root.trainable_variables = trainable
    return root


def variables_of(layers: list, functions: list) -> list[tf.Variable]:
    """List layers' variables and others that functions read, such as seeds."""
    found = {id(v): v.value for layer in layers for v in layer.variables}
    found = list(found.values())
    known = {id(v) for v in found}
    for v in found:
        # Of a variable on replicas, functions know the parts.
        known |= {id(part) for part in getattr(v, "values", ())}
    for function in functions:
        for v in function.variables:
            if id(v) not in known:
                found.append(v)
                known.add(id(v))
    return found


@contextlib.contextmanager
def prepared(layer: keras.Layer) -> Iterator[None]:
    """Let a layer train alone, with all weights that can, on one replica.

    Else a reduction over the present replicas would be recorded. Statistics
    must follow within tens of steps, as many as few labels may give.
    """
    # What is set goes down to the layers inside, so these come last.
    layers = sorted(
        layer._flatten_layers(),
        key=lambda part: len(part._flatten_layers()),
        reverse=True,
    )
    before = [(p, "trainable", p.trainable) for p in layers]
    before += [(v, "trainable", v.trainable) for v in layer.variables]
    norms = [p for p in layers if hasattr(p, "synchronized")]
    before += [(p, "synchronized", p.synchronized) for p in norms]
    before += [(p, "momentum", p.momentum) for p in norms]
    try:
        for part in layers:
            part.trainable = False  # or Keras takes the next line for done
            part.trainable = True
        for part in norms:
            part.synchronized = False
            part.momentum = min(part.momentum, _MOMENTUM)
        yield
    finally:
        for part, name, value in before:
            setattr(part, name, value)
