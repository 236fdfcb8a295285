"""Runs: settings, training, checkpoints. Needs the TensorFlow backend."""

from minc_tf.training.callbacks import (
    AtomicCheckpoint,
    MetricsCSV,
    Progress,
    StopOnNonFinite,
    Throughput,
)
from minc_tf.training.config import default_config, validate
from minc_tf.training.inspect import inspect
from minc_tf.training.recipes import load_recipe, set_widths, use_method
from minc_tf.training.run import load_run, read_config, run

__all__ = [
    "AtomicCheckpoint",
    "MetricsCSV",
    "Progress",
    "StopOnNonFinite",
    "Throughput",
    "default_config",
    "inspect",
    "load_recipe",
    "load_run",
    "read_config",
    "run",
    "set_widths",
    "use_method",
    "validate",
]
