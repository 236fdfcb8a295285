"""Evaluation of frozen features: kNN, linear probe and ridge classifier."""

from minc_tf.evaluation.collapse import CollapseMonitor
from minc_tf.evaluation.evaluate import (
    evaluate_features,
    evaluate_savedmodel,
)
from minc_tf.evaluation.features import (
    SavedEncoder,
    encoder_function,
    extract,
    load_savedmodel,
    raw_pixels,
)
from minc_tf.evaluation.knn import knn_accuracy, knn_predict
from minc_tf.evaluation.linear import LinearProbe, linear_accuracy
from minc_tf.evaluation.monitor import KNNMonitor
from minc_tf.evaluation.ridge import ridge_accuracy

__all__ = [
    "CollapseMonitor",
    "KNNMonitor",
    "LinearProbe",
    "SavedEncoder",
    "encoder_function",
    "evaluate_features",
    "evaluate_savedmodel",
    "extract",
    "knn_accuracy",
    "knn_predict",
    "linear_accuracy",
    "load_savedmodel",
    "raw_pixels",
    "ridge_accuracy",
]
