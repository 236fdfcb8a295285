"""Running exports in other runtimes, beside Keras."""

import types

import keras
import numpy as np
import tensorflow as tf

from .tiny import DIM, SHAPE

FORMATS = ("onnx", "openvino", "litert")


def around(encoder, features=6):
    """A model to export, of the encoder and one Dense layer."""
    dense = keras.layers.Dense(DIM, bias_initializer="normal")
    return types.SimpleNamespace(
        encoder=encoder,
        projector=keras.Sequential([keras.Input((features,)), dense]),
        objective=object(),
    )


def images(n, shape=SHAPE, seed=7):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *shape)).astype("float32")


def vectors(model, x):
    """What Keras computes, features and all d coordinates, as float32."""
    features = model.encoder(x, training=False)
    z = model.projector(features, training=False)
    return [np.array(tf.cast(each, tf.float32)) for each in (features, z)]


def run(path, format, x):
    """Load a file of a version folder anew and return both outputs."""
    names = ("features", "embedding")
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(f"{path}/model.onnx")
        return session.run(names, {"images": x})
    if format == "openvino":
        import openvino

        model = openvino.Core().read_model(f"{path}/model.xml")
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        found = openvino.compile_model(model, "CPU", hint)({"images": x})
        return [found[name] for name in names]
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(f"{path}/model.tflite")
    (place,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(place["index"], x.shape)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    assert set(runner.get_input_details()) == {"images"}
    found = runner(images=x)
    return [found[name] for name in names]
