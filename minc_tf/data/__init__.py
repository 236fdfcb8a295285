"""Images in: TensorFlow Datasets, folders, record files, arrays, `shapes`."""

from minc_tf.data.arrays import ArraySource, load_npz
from minc_tf.data.classes import select_classes
from minc_tf.data.encoded import EncodedSource
from minc_tf.data.folder import load_folder
from minc_tf.data.load import load
from minc_tf.data.pipeline import (
    eval_batches,
    image_batches,
    view_batches,
)
from minc_tf.data.record_files import load_records
from minc_tf.data.records import RecordSource
from minc_tf.data.shapes import load_shapes, render_shapes
from minc_tf.data.source import ImageSource
from minc_tf.data.tfds import load_tfds

__all__ = [
    "ArraySource",
    "EncodedSource",
    "ImageSource",
    "RecordSource",
    "eval_batches",
    "image_batches",
    "load",
    "load_folder",
    "load_npz",
    "load_records",
    "load_shapes",
    "load_tfds",
    "render_shapes",
    "select_classes",
    "view_batches",
]
