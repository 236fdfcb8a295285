"""A folder of photos, bad files, and a model from elsewhere."""

import csv
import io
import shutil

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import tensorflow as tf

from .conftest import SHAPE

#: In the order of their relative paths.
NAMES = [
    "2023/a.PNG",
    "2023/deep/er/c.jpeg",
    "2023/deep/er/d.png",
    "2024/a.jpg",
    "2024/b c.JPG",
    "b.jpg",
    "ä.png",
]


def write_photos(folder):
    """Images of several sizes, two of them as the model takes them."""
    rng = np.random.default_rng(0)
    for i, name in enumerate(NAMES):
        shape = SHAPE if name.endswith("png") else (9 + i, 14 - i, 3)
        image = PIL.Image.fromarray(rng.integers(0, 255, shape, np.uint8))
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, "PNG" if name.lower().endswith("png") else "JPEG")
    (folder / ".thumbnails").mkdir()
    shutil.copy(folder / "b.jpg", folder / ".thumbnails" / "b.jpg")
    shutil.copy(folder / "b.jpg", folder / ".hidden.jpg")
    (folder / "notes.txt").write_text("no image")
    (folder / "folder.jpg").mkdir()
    return folder


def read(path):
    """Names and vectors of a table."""
    table = pq.read_table(path)
    return table["path"].to_pylist(), np.array(table["vector"].to_pylist())


def read_bad(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def encoded(kind, size=(12, 12)):
    pixels = np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def add_bad_files(folder):
    """Write one of each kind; return the lines that list them, in order."""
    jpeg, png = encoded("JPEG"), encoded("PNG")
    huge = bytearray(png)
    huge[16:24] = 2 * (2**16).to_bytes(4, "big")
    contents = {
        "0/cut.jpg": (jpeg[:-80], "damaged"),
        "0/cut.png": (png[:-80], "damaged"),
        "0/head.jpg": (jpeg[:8], "damaged"),
        "2023/b.png": (b"", "empty"),
        "c.jpg": (b"not an image", "no image of a kind that is read"),
        "gif.png": (b"\xff\x0axl", "JPEG XL, which is not read: convert it"),
        "huge.png": (
            bytes(huge),
            "too large: 65536 x 65536 pixels, more than max_pixels=33554432",
        ),
        "link.jpg": (None, "unreadable"),
        "z,\n.jpg": (b"", "empty"),
    }
    for name, (text, _) in contents.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if text is None:
            path.symlink_to("nowhere.jpg")
        else:
            path.write_bytes(text)
    return [[name, reason] for name, (_, reason) in contents.items()]


def save_foreign(path, scale=1.0):
    """Save a model from elsewhere: the mean colour."""
    module = tf.Module()
    module.scale = tf.Variable(scale)

    def mean(shape):
        spec = tf.TensorSpec((None, *shape), tf.float32, "x")

        @tf.function(input_signature=[spec])
        def call(x):
            return {"mean": module.scale * tf.reduce_mean(x, (1, 2))}

        return call

    module.fixed, module.free = mean((4, 4, 3)), mean((None, None, 3))
    signatures = {"features": module.fixed, "free": module.free}
    tf.saved_model.save(module, path, signatures)
    return path
