"""The compiled inference of a live encoder, on TensorFlow."""

from collections.abc import Callable

import keras
import tensorflow as tf

from minc_tf._checks import check_image_shape
from minc_tf.objectives import replicas


def compile_inference(model: keras.Model, expected) -> Callable:
    """As `encoder_function` says; `expected` is (H, W, C), None if unknown."""
    strategy = getattr(model, "distribute_strategy", None)
    count = 1 if strategy is None else strategy.num_replicas_in_sync
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

    return encode
