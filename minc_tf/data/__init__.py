"""Images in: TensorFlow Datasets, folders, record files, arrays, `shapes`.

Names are imported when they are first used: reading arrays (`npz`) needs no
TensorFlow, everything else does.
"""

from typing import TYPE_CHECKING

from minc_tf._lazy import lazy_names

if TYPE_CHECKING:
    from minc_tf.data.arrays import ArraySource as ArraySource
    from minc_tf.data.arrays import load_npz as load_npz
    from minc_tf.data.classes import select_classes as select_classes
    from minc_tf.data.encoded import EncodedSource as EncodedSource
    from minc_tf.data.folder import load_folder as load_folder
    from minc_tf.data.loading import load as load
    from minc_tf.data.pipeline import eval_batches as eval_batches
    from minc_tf.data.pipeline import image_batches as image_batches
    from minc_tf.data.pipeline import view_batches as view_batches
    from minc_tf.data.records.files import load_records as load_records
    from minc_tf.data.records.source import RecordSource as RecordSource
    from minc_tf.data.shapes import load_shapes as load_shapes
    from minc_tf.data.shapes import render_shapes as render_shapes
    from minc_tf.data.source import ImageSource as ImageSource
    from minc_tf.data.tfds import load_tfds as load_tfds

_LAZY = {
    "ArraySource": "arrays",
    "EncodedSource": "encoded",
    "ImageSource": "source",
    "RecordSource": "records.source",
    "eval_batches": "pipeline",
    "image_batches": "pipeline",
    "load": "loading",
    "load_folder": "folder",
    "load_npz": "arrays",
    "load_records": "records.files",
    "load_shapes": "shapes",
    "load_tfds": "tfds",
    "render_shapes": "shapes",
    "select_classes": "classes",
    "view_batches": "pipeline",
}

__all__ = [
    *_LAZY,
]

__getattr__ = lazy_names(__name__, _LAZY)


def __dir__():
    return sorted(__all__)
