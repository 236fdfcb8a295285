"""Requests with which TensorFlow Serving warms up a model that it loads."""

import os

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import prediction_log_pb2

from minc_tf.export.value_range import PIXELS, from_pixels

WARMUP = os.path.join("assets.extra", "tf_serving_warmup_requests")

#: Sizes of the batches of encoded images.
_BATCHES = (1, 8)


def write_warmup(
    folder: str, signatures: dict, value_range: tuple[float, float] = PIXELS
) -> None:
    """Write one request for each signature, several for encoded images.

    Source: https://www.tensorflow.org/tfx/serving/saved_model_warmup
    """
    path = os.path.join(folder, WARMUP)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tf.io.TFRecordWriter(path) as writer:
        for name, function in signatures.items():
            (spec,) = tf.nest.flatten(function.structured_input_signature)
            batches = _BATCHES if spec.dtype == tf.string else (1,)
            for batch in batches:
                log = prediction_log_pb2.PredictionLog()
                request = log.predict_log.request
                request.model_spec.signature_name = name
                tensor = _tensor(spec, batch, value_range)
                request.inputs[spec.name].CopyFrom(tensor)
                writer.write(log.SerializeToString(deterministic=True))


def _tensor(spec, batch, value_range):
    if spec.dtype == tf.string:
        return tf.make_tensor_proto(_encoded(batch), shape=(batch,))
    # Of one value for all pixels only that one is kept.
    shape = tf.TensorShape([batch, *(n or 64 for n in spec.shape[1:])])
    proto = tensor_pb2.TensorProto(
        dtype=spec.dtype.as_datatype_enum, tensor_shape=shape.as_proto()
    )
    if spec.dtype.is_floating:
        proto.float_val.append(from_pixels(128, value_range))
    else:
        proto.int_val.append(128)
    return proto


def _encoded(batch):
    """Small pictures, JPEG and PNG in turn."""
    rng = np.random.default_rng(0)
    encode = (tf.io.encode_jpeg, tf.io.encode_png)
    return [
        encode[i % 2](rng.integers(0, 256, (60, 80, 3), np.uint8)).numpy()
        for i in range(batch)
    ]
