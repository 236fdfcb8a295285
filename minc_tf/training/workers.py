"""The processes that train together: what they agree on, and who writes."""

import contextlib

import tensorflow as tf

from minc_tf.training.strategies import is_multiworker, workers_of
from minc_tf.training.termination import WorkerLostError


class Workers:
    """The workers of a strategy.

    The methods that compare are collective: every worker calls them at the
    same point of the run.

    Args:
        strategy: `tf.distribute.Strategy`.

    Attributes:
        chief: bool, whether this process writes the files of the run.
        several: bool, whether there are others.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        """See the class."""
        self.several = is_multiworker(strategy)
        self.chief = not self.several or strategy.cluster_resolver.task_id == 0
        self._strategy = strategy
        self._total = tf.function(self._sum)

    def any(self, flag: bool) -> bool:
        """Whether the flag of any worker is true."""
        if not self.several:
            return bool(flag)
        return float(self._total(tf.constant(float(flag)))) > 0.0

    def wait(self) -> None:
        """Waits until every worker is here."""
        self.any(False)

    def check_same_step(self, step: int) -> None:
        """Checks that all workers go on from the same step.

        Args:
            step: int, the step of this worker's checkpoint.

        Raises:
            ValueError: if others read another checkpoint.
        """
        if not self.several:
            return
        count = self._strategy.num_replicas_in_sync
        mean = float(self._total(tf.constant(float(step)))) / count
        if self.any(abs(mean - step) > 1e-6 * max(step, 1)):
            raise ValueError(
                "the workers found different checkpoints (here of step "
                f"{step}); the workdir must be one folder that all of them see."
            )

    @contextlib.contextmanager
    def watched(self, last_checkpoint):
        """Says plainly that another worker was lost, where one is.

        Args:
            last_checkpoint: function without arguments that returns the path
                of the newest checkpoint, or None.

        Raises:
            WorkerLostError: for TensorFlow's errors of a broken cluster.
        """
        try:
            yield
        except tf.errors.OpError as error:
            if not self.several:
                raise
            saved = last_checkpoint()
            kept = f"go on from {saved}" if saved else "begin again"
            addresses = ", ".join(workers_of(self._strategy))
            raise WorkerLostError(
                f"a worker of {addresses} was lost "
                f"({type(error).__name__}); start all of them with the same "
                f"command to {kept}."
            ) from error

    def _sum(self, value):
        strategy = self._strategy
        own = strategy.run(tf.identity, args=(value,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, own, axis=None)
