"""Images in: TensorFlow Datasets, folders, record files, arrays, `shapes`.

Names are imported when they are first used: reading arrays (`npz`) needs no
TensorFlow, everything else does.
"""

from minc_tf._lazy import lazy_names

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
