"""Evaluation of encoders by the protocols of the papers, and monitors.

Names are imported when they are first used: kNN and the measures of collapse
need no TensorFlow, everything else does.
"""

from minc_tf._lazy import lazy_names

_LAZY = {
    "CollapseAlarm": "alarm",
    "CollapseError": "alarm",
    "CollapseMonitor": "collapse",
    "DiagnosticsMonitor": "diagnostics_monitor",
    "KNNMonitor": "monitor",
    "LinearProbe": "linear",
    "SavedEncoder": "saved_encoder",
    "embed_images": "embed",
    "encoder_function": "features",
    "evaluate_dims": "truncation",
    "evaluate_features": "cached",
    "evaluate_savedmodel": "evaluate",
    "extract": "features",
    "finetune": "finetuning",
    "knn_accuracy": "knn",
    "knn_predict": "knn",
    "labelled_fraction": "labelled",
    "linear_accuracy": "linear",
    "linear_sgd": "sgd_probe",
    "load_savedmodel": "saved_encoder",
    "pca": "truncation",
    "plot_dims": "truncation",
    "raw_pixels": "features",
    "retrieval_metrics": "retrieval",
    "ridge_accuracy": "ridge",
    "summarise": "repeats",
    "transfer_accuracy": "transfer",
}

__all__ = [
    *_LAZY,
]

__getattr__ = lazy_names(__name__, _LAZY)


def __dir__():
    return sorted(__all__)
