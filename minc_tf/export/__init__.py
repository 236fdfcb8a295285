"""SavedModels: the encoder and projector as TensorFlow Serving takes them."""

from minc_tf.commit import library_commit
from minc_tf.export.formats import export_runtime
from minc_tf.export.manifest import read_manifest
from minc_tf.export.saved_encoder import SavedEncoder, load_savedmodel
from minc_tf.export.savedmodel import export_savedmodel
from minc_tf.export.versions import find_version, latest_version

__all__ = [
    "SavedEncoder",
    "export_runtime",
    "export_savedmodel",
    "find_version",
    "latest_version",
    "library_commit",
    "load_savedmodel",
    "read_manifest",
]
