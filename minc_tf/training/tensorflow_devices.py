"""Where a run trains on TensorFlow: replicas, and the workers of a cluster."""

import contextlib

import tensorflow as tf
from ml_collections import ConfigDict

from minc_tf.training.devices import Devices
from minc_tf.training.source_checks import check_shares
from minc_tf.training.strategies import (
    is_multiworker,
    make_strategy,
    workers_of,
)
from minc_tf.training.termination import WorkerLostError


def build_strategy(config: ConfigDict) -> tf.distribute.Strategy:
    """The strategy of a run; ValueError where a setting does not work on it."""
    strategy = make_strategy(config.strategy, **config.distribute.to_dict())
    count = strategy.num_replicas_in_sync
    check_shares(config, count)
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    if on_tpu and config.precision == "mixed_float16":
        raise ValueError(
            "config.precision='mixed_float16' does not work on a TPU; use "
            "'mixed_bfloat16'."
        )
    if config.jit_compile and count > 1 and not on_tpu:
        raise ValueError(
            f"config.jit_compile=True does not work on {count} replicas "
            f"(config.strategy={config.strategy!r}); set it to False."
        )
    return strategy


class Replicas(Devices):
    """The replicas of a strategy, and its workers."""

    def __init__(self, strategy: tf.distribute.Strategy, compiles=False):
        self.strategy = strategy
        self.several = is_multiworker(strategy)
        self.chief = not self.several or strategy.cluster_resolver.task_id == 0
        # A TPU compiles every step, and Keras must not do it again.
        self.compiles = compiles and strategy.num_replicas_in_sync == 1
        self._total = tf.function(self._sum)

    @classmethod
    def of(cls, config: ConfigDict) -> "Replicas":
        """Those that a run's settings ask for."""
        return cls(build_strategy(config), config.jit_compile)

    def scope(self):
        """That of the strategy."""
        return self.strategy.scope()

    @contextlib.contextmanager
    def in_use(self, last_checkpoint):
        """Say plainly that another worker was lost, where one is."""
        try:
            yield
        except tf.errors.OpError as error:
            if not self.several:
                raise
            saved = last_checkpoint()
            kept = f"go on from {saved}" if saved else "begin again"
            addresses = ", ".join(workers_of(self.strategy))
            raise WorkerLostError(
                f"a worker of {addresses} was lost "
                f"({type(error).__name__}); start all of them with the same "
                f"command to {kept}."
            ) from error

    def steps(self, model, batches):
        """One call of Keras's train function each."""
        model.make_train_function()
        iterator = iter(batches)
        while True:
            yield model.train_function(iterator)

    def any(self, flag):
        """Whether the flag of any worker is true."""
        if not self.several:
            return bool(flag)
        return float(self._total(tf.constant(float(flag)))) > 0.0

    def wait(self):
        """Wait until every worker is here."""
        self.any(False)

    def leave(self, done):
        """Wait for the last time; who is gone by then is not missed."""
        try:
            self.wait()
        except tf.errors.OpError:
            if not done():
                raise

    def check_same_step(self, step):
        """Raise ValueError where workers read different checkpoints."""
        if not self.several:
            return
        count = self.strategy.num_replicas_in_sync
        mean = float(self._total(tf.constant(float(step)))) / count
        if self.any(abs(mean - step) > 1e-6 * max(step, 1)):
            raise ValueError(
                "the workers found different checkpoints (here of step "
                f"{step}); the workdir must be one folder that all of them see."
            )

    def _sum(self, value):
        strategy = self.strategy
        own = strategy.run(tf.identity, args=(value,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, own, axis=None)
