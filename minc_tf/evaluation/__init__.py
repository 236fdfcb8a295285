"""Evaluation of encoders by the protocols of the papers, and monitors.

Four rooms: `protocols`, what an encoder is worth; `streaming`, the same of
vectors that are more than the memory holds; `monitors`, what watches a run;
`embedding`, vectors of many images in a table. Names are imported when they are
first used: kNN and the measures of collapse need no TensorFlow, everything else
does.
"""

from typing import TYPE_CHECKING

from minc_tf._lazy import lazy_names

if TYPE_CHECKING:
    from minc_tf.evaluation.embedding.images_to_parts import (
        embed_collection as embed_collection,
    )
    from minc_tf.evaluation.embedding.images_to_table import (
        embed_images as embed_images,
    )
    from minc_tf.evaluation.embedding.shards import Vectors as Vectors
    from minc_tf.evaluation.features import encoder_function as encoder_function
    from minc_tf.evaluation.features import extract as extract
    from minc_tf.evaluation.features import raw_pixels as raw_pixels
    from minc_tf.evaluation.monitors.collapse_alarm import (
        CollapseAlarm as CollapseAlarm,
    )
    from minc_tf.evaluation.monitors.collapse_alarm import (
        CollapseError as CollapseError,
    )
    from minc_tf.evaluation.monitors.collapse_monitor import (
        CollapseMonitor as CollapseMonitor,
    )
    from minc_tf.evaluation.monitors.diagnostics_monitor import (
        DiagnosticsMonitor as DiagnosticsMonitor,
    )
    from minc_tf.evaluation.monitors.knn_monitor import KNNMonitor as KNNMonitor
    from minc_tf.evaluation.protocols.finetuning import finetune as finetune
    from minc_tf.evaluation.protocols.knn import knn_accuracy as knn_accuracy
    from minc_tf.evaluation.protocols.knn import knn_predict as knn_predict
    from minc_tf.evaluation.protocols.linear import LinearProbe as LinearProbe
    from minc_tf.evaluation.protocols.linear import (
        linear_accuracy as linear_accuracy,
    )
    from minc_tf.evaluation.protocols.on_features import (
        evaluate_features as evaluate_features,
    )
    from minc_tf.evaluation.protocols.retrieval import (
        retrieval_metrics as retrieval_metrics,
    )
    from minc_tf.evaluation.protocols.ridge import (
        ridge_accuracy as ridge_accuracy,
    )
    from minc_tf.evaluation.protocols.savedmodel import (
        evaluate_savedmodel as evaluate_savedmodel,
    )
    from minc_tf.evaluation.protocols.seeds import summarise as summarise
    from minc_tf.evaluation.protocols.sgd_probe import linear_sgd as linear_sgd
    from minc_tf.evaluation.protocols.subsets import (
        labelled_fraction as labelled_fraction,
    )
    from minc_tf.evaluation.protocols.transfer import (
        transfer_accuracy as transfer_accuracy,
    )
    from minc_tf.evaluation.protocols.truncation import (
        evaluate_dims as evaluate_dims,
    )
    from minc_tf.evaluation.protocols.truncation import pca as pca
    from minc_tf.evaluation.streaming.knn import (
        stream_knn as stream_knn,
    )
    from minc_tf.evaluation.streaming.linear import (
        stream_linear as stream_linear,
    )
    from minc_tf.evaluation.streaming.on_vectors import (
        evaluate_vectors as evaluate_vectors,
    )
    from minc_tf.evaluation.streaming.ridge import (
        stream_ridge as stream_ridge,
    )
    from minc_tf.export.saved_encoder import SavedEncoder as SavedEncoder
    from minc_tf.export.saved_encoder import load_savedmodel as load_savedmodel
    from minc_tf.report.dims import plot_dims as plot_dims

_LAZY = {
    "CollapseAlarm": "monitors.collapse_alarm",
    "CollapseError": "monitors.collapse_alarm",
    "CollapseMonitor": "monitors.collapse_monitor",
    "DiagnosticsMonitor": "monitors.diagnostics_monitor",
    "KNNMonitor": "monitors.knn_monitor",
    "LinearProbe": "protocols.linear",
    "SavedEncoder": ".export.saved_encoder",
    "Vectors": "embedding.shards",
    "embed_collection": "embedding.images_to_parts",
    "embed_images": "embedding.images_to_table",
    "encoder_function": "features",
    "evaluate_dims": "protocols.truncation",
    "evaluate_features": "protocols.on_features",
    "evaluate_savedmodel": "protocols.savedmodel",
    "evaluate_vectors": "streaming.on_vectors",
    "extract": "features",
    "finetune": "protocols.finetuning",
    "knn_accuracy": "protocols.knn",
    "knn_predict": "protocols.knn",
    "labelled_fraction": "protocols.subsets",
    "linear_accuracy": "protocols.linear",
    "linear_sgd": "protocols.sgd_probe",
    "load_savedmodel": ".export.saved_encoder",
    "pca": "protocols.truncation",
    "plot_dims": ".report.dims",
    "raw_pixels": "features",
    "retrieval_metrics": "protocols.retrieval",
    "ridge_accuracy": "protocols.ridge",
    "stream_knn": "streaming.knn",
    "stream_linear": "streaming.linear",
    "stream_ridge": "streaming.ridge",
    "summarise": "protocols.seeds",
    "transfer_accuracy": "protocols.transfer",
}

__all__ = [
    *_LAZY,
]

__getattr__ = lazy_names(__name__, _LAZY)


def __dir__():
    return sorted(__all__)
