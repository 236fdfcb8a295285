"""Evaluation of encoders by the protocols of the papers, and monitors."""

from minc_tf.evaluation.alarm import CollapseAlarm, CollapseError
from minc_tf.evaluation.cached import evaluate_features
from minc_tf.evaluation.collapse import CollapseMonitor
from minc_tf.evaluation.diagnostics_monitor import DiagnosticsMonitor
from minc_tf.evaluation.embed import embed_images
from minc_tf.evaluation.evaluate import evaluate_savedmodel
from minc_tf.evaluation.features import (
    encoder_function,
    extract,
    raw_pixels,
)
from minc_tf.evaluation.finetune import finetune
from minc_tf.evaluation.knn import knn_accuracy, knn_predict
from minc_tf.evaluation.labelled import labelled_fraction
from minc_tf.evaluation.linear import LinearProbe, linear_accuracy
from minc_tf.evaluation.linear_sgd import linear_sgd
from minc_tf.evaluation.monitor import KNNMonitor
from minc_tf.evaluation.repeats import summarise
from minc_tf.evaluation.retrieval import retrieval_metrics
from minc_tf.evaluation.ridge import ridge_accuracy
from minc_tf.evaluation.saved_encoder import (
    SavedEncoder,
    load_savedmodel,
)
from minc_tf.evaluation.transfer import transfer_accuracy
from minc_tf.evaluation.truncation import evaluate_dims, pca, plot_dims

__all__ = [
    "CollapseAlarm",
    "CollapseError",
    "CollapseMonitor",
    "DiagnosticsMonitor",
    "KNNMonitor",
    "LinearProbe",
    "SavedEncoder",
    "embed_images",
    "encoder_function",
    "evaluate_dims",
    "evaluate_features",
    "evaluate_savedmodel",
    "extract",
    "finetune",
    "knn_accuracy",
    "knn_predict",
    "labelled_fraction",
    "linear_accuracy",
    "linear_sgd",
    "load_savedmodel",
    "pca",
    "plot_dims",
    "raw_pixels",
    "retrieval_metrics",
    "ridge_accuracy",
    "summarise",
    "transfer_accuracy",
]
