"""Requests as a server receives them: right, or an error that says what."""

import functools
import io
import pathlib
import re
import runpy
import struct
import sys
import zlib

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import minc_tf
from minc_tf.export import export_savedmodel
from minc_tf.export.requests import decode_requests

from .tiny import SHAPE, make_model

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def fuzz():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield runpy.run_path(str(BENCHMARKS / "fuzz.py"))
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def files(fuzz):
    return fuzz["valid_files"]()


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return make_model()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export_savedmodel(model, tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def served(exported):
    return tf.saved_model.load(exported)


@pytest.fixture(scope="module")
def door(exported, fuzz):
    return fuzz["Door"](exported)


def serve(served, contents):
    signature = served.signatures["serving_default"]
    return signature(image_bytes=tf.constant(contents, tf.string))


def refusal(served, contents):
    """What the error says of its elements: a dict from place to reason."""
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        serve(served, contents)
    found = re.findall(r"image_bytes\[(\d+)\] ([^;\]]*)", caught.value.message)
    return {int(place): reason for place, reason in found}


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_every_kind_is_as_in_evaluation(served, model, files, tmp_path, batch):
    rng = np.random.default_rng(batch)
    names = [list(files)[i] for i in rng.integers(len(files), size=batch)]
    if batch == 64:
        assert set(names) == set(files)
    for i, name in enumerate(names):
        (tmp_path / f"{i:02}-{name}").write_bytes(files[name])
    source = minc_tf.data.load("folder", data_dir=tmp_path, image_size=8)
    (examples,) = source.examples(64)
    assert len(examples["image"]) == batch
    images = tf.cast(examples["image"], tf.float32)
    found = serve(served, [files[name] for name in names])
    features = model.encoder(images, training=False)
    np.testing.assert_allclose(found["features"], features, atol=1e-5)
    z = model.projector(features, training=False)
    np.testing.assert_allclose(found["embedding"], z, atol=1e-5)


def test_every_signature_gives_the_same_vector(served, model, files):
    decoded = tf.io.decode_png(files["rgb.png"])
    images = minc_tf.data.resize.resize_and_crop(decoded, SHAPE[:2])
    views = tf.cast(images, tf.float32)[tf.newaxis]
    requests = {
        "serving_default": tf.constant([files["rgb.png"]]),
        "serve_bytes": tf.constant([files["rgb.png"]]),
        "serve_images": decoded[tf.newaxis],
        "serve_views": views,
    }
    features = model.encoder(views, training=False)
    expected = {
        "features": features,
        "embedding": model.projector(features, training=False),
    }
    for signature, request in requests.items():
        found = served.signatures[signature](request)
        assert set(found) == set(expected)
        for name, values in expected.items():
            assert found[name].dtype == tf.float32
            np.testing.assert_allclose(found[name], values, atol=1e-5)


def test_images_of_mixed_and_extreme_sizes(served):
    contents = []
    for size in [(1, 1), (8, 8), (300, 2), (2, 300), (1, 5000)]:
        buffer = io.BytesIO()
        PIL.Image.new("RGB", size, (250, 100, 5)).save(buffer, "PNG")
        contents.append(buffer.getvalue())
    features = serve(served, contents)["features"].numpy()
    # All are of one colour.
    np.testing.assert_allclose(features, features[[1] * 5], atol=1e-5)


def test_each_bad_element_is_named(served, files):
    jpeg, png = files["rgb.jpg"], files["rgb.png"]
    bad = {
        1: (b"", "is empty"),
        2: (b"not an image", "is neither JPEG nor PNG"),
        4: (jpeg[:-40], "is damaged or cut off"),
        5: (png[: len(png) // 2], "is damaged or cut off"),
        6: (jpeg[:5], "is damaged or cut off"),
        7: (b"GIF89a" + jpeg, "is neither JPEG nor PNG"),
    }
    batch = [bad.get(i, (png,))[0] for i in range(9)]
    assert refusal(served, batch) == {i: why for i, (_, why) in bad.items()}
    good = [batch[i] for i in range(9) if i not in bad]
    assert len(serve(served, good)["features"]) == 3


def test_many_bad_elements_are_counted(served):
    with pytest.raises(tf.errors.InvalidArgumentError, match="; and 12 more"):
        serve(served, [b""] * 20)


def png_of(width, height):
    """A PNG whose header says so, with nothing behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
    )


def jpeg_of(jpeg, width, height):
    """A JPEG whose header was changed to say so."""
    place = jpeg.index(b"\xff\xc0") + 5
    size = struct.pack(">HH", height, width)
    return jpeg[:place] + size + jpeg[place + 4 :]


def test_decompression_bombs(served, files):
    buffer = io.BytesIO()
    PIL.Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
    sizes = [(10_000, 10_000), (65_500, 65_500), (2**31 - 1, 2**31 - 1)]
    bombs = [
        buffer.getvalue(),
        jpeg_of(files["rgb.jpg"], *sizes[1]),
        png_of(*sizes[2]),
    ]
    found = refusal(served, bombs)
    for place, (width, height) in enumerate(sizes):
        assert found[place] == (
            f"has {width} x {height} pixels, more than the 33554432 that are "
            "allowed"
        )
    # Whatever the size says: there is nothing behind it.
    assert set(refusal(served, [png_of(0, 5), png_of(2**32 - 1, 0)])) == {0, 1}


def test_the_limit_itself_is_allowed():
    decode = tf.function(lambda x: decode_requests(x, (8, 8), 100))

    def png(width, height):
        return tf.io.encode_png(tf.zeros((height, width, 3), tf.uint8))

    assert decode(tf.stack([png(10, 10), png(100, 1)])).shape == (2, 8, 8, 3)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"\[1\] has 101 x"
    ):
        decode(tf.stack([png(10, 10), png(101, 1)]))


@pytest.mark.parametrize(
    ("signature", "request_", "message"),
    [
        ("serving_default", np.zeros(0, object), "image_bytes is an empty"),
        ("serve_images", np.zeros((0, 5, 5, 3), "uint8"), "images is an empty"),
        ("serve_images", np.zeros((2, 0, 5, 3), "uint8"), r"no pixels: .*2, 0"),
        ("serve_views", np.zeros((0, *SHAPE), "float32"), "images is an empty"),
    ],
    ids=["bytes", "images", "pixels", "views"],
)
def test_nothing_to_encode(served, signature, request_, message):
    dtype = tf.string if request_.dtype == object else None
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served.signatures[signature](tf.constant(request_, dtype))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_views_that_are_not_finite(served, value):
    views = np.zeros((3, *SHAPE), "float32")
    views[1, 2, 3, 0] = value
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"images\[1\] has pixel values"
    ):
        served.signatures["serve_views"](tf.constant(views))


def test_mutated_files_crash_nothing(door, fuzz):
    """The short form of `benchmarks/fuzz.py`."""
    inputs = fuzz["mutations"](160, seed=1)
    call = functools.partial(door, "serving_default")
    outcomes = []
    for start in range(0, len(inputs), 8):
        outcomes += fuzz["serve"](call, inputs[start : start + 8])
    assert 10 <= outcomes.count("served") < 150
    assert len(set(outcomes)) >= 3


def test_mutated_tensors_crash_nothing(door, fuzz, files):
    """The other half of it."""
    rng = np.random.default_rng(1)
    outcomes = []
    for name in sorted(door.signatures) * 40:
        tensor = fuzz["mutated_tensor"](
            rng, *door.spec(name), list(files.values())
        )
        outcomes.append(fuzz["serve_tensor"](door, name, tensor))
    assert 50 <= outcomes.count("served") < 200
    assert len(set(outcomes)) >= 4
