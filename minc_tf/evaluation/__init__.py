"""Evaluation of encoders by the protocols of the papers, and monitors.

Three rooms: `protocols`, what an encoder is worth; `monitors`, what watches a
run; `embedding`, vectors of many images in a table. Names are imported when
they are first used: kNN and the measures of collapse need no TensorFlow,
everything else does.
"""

from minc_tf._lazy import lazy_names

_LAZY = {
    "CollapseAlarm": "monitors.collapse_alarm",
    "CollapseError": "monitors.collapse_alarm",
    "CollapseMonitor": "monitors.collapse_monitor",
    "DiagnosticsMonitor": "monitors.diagnostics_monitor",
    "KNNMonitor": "monitors.knn_monitor",
    "LinearProbe": "protocols.linear",
    "SavedEncoder": ".export.saved_encoder",
    "embed_images": "embedding.images_to_table",
    "encoder_function": "features",
    "evaluate_dims": "protocols.truncation",
    "evaluate_features": "protocols.on_features",
    "evaluate_savedmodel": "protocols.savedmodel",
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
    "summarise": "protocols.seeds",
    "transfer_accuracy": "protocols.transfer",
}

__all__ = [
    *_LAZY,
]

__getattr__ = lazy_names(__name__, _LAZY)


def __dir__():
    return sorted(__all__)
