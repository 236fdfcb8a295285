"""Encoders, heads and the models that train them."""

from minc_tf._imports import register_classes
from minc_tf.models.assembly import assemble
from minc_tf.models.encoders import ENCODERS, as_encoder, build_encoder
from minc_tf.models.heads import mlp
from minc_tf.models.methods import (
    METHODS,
    Method,
    build,
    find_method,
    methods,
)
from minc_tf.models.minc_model import MINCModel
from minc_tf.models.other_weights import CosineMomentum
from minc_tf.models.resnet import resnet, small_resnet
from minc_tf.models.statistics import (
    RecomputeStatistics,
    recompute_statistics,
    recomputed_statistics,
)
from minc_tf.models.two_view import TwoViewModel

__all__ = [
    "ENCODERS",
    "METHODS",
    "CosineMomentum",
    "MINCModel",
    "Method",
    "RecomputeStatistics",
    "TwoViewModel",
    "as_encoder",
    "assemble",
    "build",
    "build_encoder",
    "find_method",
    "methods",
    "mlp",
    "recompute_statistics",
    "recomputed_statistics",
    "resnet",
    "small_resnet",
]

register_classes()
