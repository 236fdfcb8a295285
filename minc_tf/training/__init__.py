"""Runs: settings, training, checkpoints.

On Keras's JAX backend a run trains from arrays and needs no TensorFlow. What
works on the TensorFlow backend alone is imported when it is first used.
"""

from typing import TYPE_CHECKING

from minc_tf._lazy import lazy_names
from minc_tf.training.callbacks import (
    MetricsCSV,
    Progress,
    StopOnNonFinite,
    Throughput,
)
from minc_tf.training.checkpoints import Checkpoints
from minc_tf.training.config import default_config
from minc_tf.training.log import LogLines, log_file
from minc_tf.training.loop import SaveCheckpoints
from minc_tf.training.recipes import (
    load_recipe,
    set_widths,
    use_method,
)
from minc_tf.training.run import (
    load_run,
    read_config,
    run,
)
from minc_tf.training.termination import PreemptedError, WorkerLostError
from minc_tf.training.validation import validate

if TYPE_CHECKING:
    from minc_tf.training.inspection import inspect as inspect
    from minc_tf.training.strategies import make_strategy as make_strategy

_LAZY = {
    "inspect": "inspection",
    "make_strategy": "strategies",
}

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
    "load_recipe",
    "load_run",
    "log_file",
    "read_config",
    "run",
    "set_widths",
    "use_method",
    "validate",
    *_LAZY,
]

__getattr__ = lazy_names(__name__, _LAZY, on_backend=True)


def __dir__():
    return sorted(__all__)
