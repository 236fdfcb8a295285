"""Runs: settings, training, checkpoints. Needs the TensorFlow backend."""

from minc_tf.training.callbacks import (
    MetricsCSV,
    Progress,
    StopOnNonFinite,
    Throughput,
)
from minc_tf.training.checkpoints import Checkpoints
from minc_tf.training.config import default_config
from minc_tf.training.inspect import inspect
from minc_tf.training.log import LogLines, log_file
from minc_tf.training.loop import SaveCheckpoints
from minc_tf.training.recipes import load_recipe, set_widths, use_method
from minc_tf.training.run import load_run, read_config, run
from minc_tf.training.strategies import make_strategy
from minc_tf.training.validation import validate
from minc_tf.training.workers import PreemptedError, WorkerLostError

__all__ = [
    "Checkpoints",
    "LogLines",
    "MetricsCSV",
    "PreemptedError",
    "Progress",
    "SaveCheckpoints",
    "StopOnNonFinite",
    "Throughput",
    "WorkerLostError",
    "default_config",
    "inspect",
    "load_recipe",
    "load_run",
    "log_file",
    "make_strategy",
    "read_config",
    "run",
    "set_widths",
    "use_method",
    "validate",
]
