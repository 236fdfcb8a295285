"""A small export, served by stand-ins for TensorFlow Serving."""

import pathlib
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from minc_tf.export import export_savedmodel

from . import servers

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="session")
def tiny_model():
    """What is exported."""
    keras.utils.set_random_seed(0)
    encoder = [
        keras.Input((8, 8, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(6, 3, activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
    ]
    return types.SimpleNamespace(
        encoder=keras.Sequential(encoder),
        projector=keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)]),
        objective=object(),
    )


@pytest.fixture(scope="session")
def exported(tiny_model, tmp_path_factory):
    """The path of a version of an exported encoder."""
    return export_savedmodel(tiny_model, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Paths of two JPEGs and a PNG, each of another size."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    paths = []
    for i, name in enumerate(["a.jpg", "b.png", "c.jpg"]):
        encode = tf.io.encode_png if ".png" in name else tf.io.encode_jpeg
        pixels = rng.integers(0, 256, (9 + 5 * i, 20, 3), np.uint8)
        paths.append(folder / name)
        paths[-1].write_bytes(encode(pixels).numpy())
    return paths


@pytest.fixture(scope="session")
def expected(exported, photos):
    """Features and embeddings of the photos, from the SavedModel itself."""
    signature = tf.saved_model.load(exported).signatures["serve_bytes"]
    contents = tf.constant([path.read_bytes() for path in photos])
    outputs = signature(image_bytes=contents)
    return {name: value.numpy() for name, value in outputs.items()}


@pytest.fixture(scope="session")
def served(exported):
    """The export in a session, under the name in models.config."""
    return servers.ServedModel("encoder", exported)


@pytest.fixture(scope="session")
def grpc_server(served):
    """The address of a server of gRPC."""
    with servers.serve_grpc(served) as address:
        yield address


@pytest.fixture(scope="session")
def rest_server(served):
    """The address of a server of REST."""
    with servers.serve_rest(served) as address:
        yield address
