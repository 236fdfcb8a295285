"""The loop of a run: epochs from any step, checkpoints, a clean end.

What `fit` does, but for one thing: it can begin in the middle of an epoch.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import keras

from minc_tf.training.checkpoints import Checkpoints, step_of
from minc_tf.training.termination import PreemptedError, Termination

if TYPE_CHECKING:
    from minc_tf.training.workers import Workers


def train(
    model: keras.Model,
    batches: Iterable,
    callbacks: list[keras.callbacks.Callback],
    *,
    first_step: int,
    steps_per_epoch: int,
    epochs: int,
) -> None:
    """Trains a compiled model to the end of its last epoch.

    Args:
        model: a compiled `TwoViewModel`; where it begins in the middle of an
            epoch, with the running means of that epoch.
        batches: an endless data set (of a strategy), from `first_step` on.
        callbacks: Keras callbacks.
        first_step: int, the number of steps taken before.
        steps_per_epoch: int.
        epochs: int, of the whole run.
    """
    watchers = keras.callbacks.CallbackList(
        callbacks, model=model, epochs=epochs, steps=steps_per_epoch
    )
    model.make_train_function()
    iterator = iter(batches)
    watchers.on_train_begin()
    first_epoch, done = divmod(first_step, steps_per_epoch)
    for epoch in range(first_epoch, epochs):
        if not done:
            model.reset_metrics()
        watchers.on_epoch_begin(epoch)
        for batch in range(done, steps_per_epoch):
            watchers.on_train_batch_begin(batch)
            logs = model.train_function(iterator)
            watchers.on_train_batch_end(batch, logs)
        done = 0
        watchers.on_epoch_end(epoch, model.get_metrics_result())
    # Optimizers can keep averages of the weights for the end.
    model.optimizer.finalize_variable_values(model.trainable_weights)
    watchers.on_train_end()


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves at the end of epochs, every so many steps, and when told to end.

    It stands last in the list of callbacks, so that what the others write
    is there before the checkpoint that follows it.

    Args:
        checkpoints: `Checkpoints`.
        every_steps: int, save also after each so many steps; 0: not.
        workers: optional `Workers`, of which one writes.
        termination: optional `Termination` to watch.

    Raises:
        PreemptedError: in training, once a termination was requested and the
            checkpoint is written.

    Example:
    ```python
    import minc_tf

    checkpoints = minc_tf.training.Checkpoints("run/checkpoints")
    saver = minc_tf.training.SaveCheckpoints(checkpoints, every_steps=1000)
    # model.fit(views, callbacks=[saver])
    # checkpoints.restore(model)
    ```
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        every_steps: int = 0,
        workers: "Workers | None" = None,
        termination: Termination | None = None,
    ):
        """See the class."""
        super().__init__()
        self.checkpoints = checkpoints
        self.every_steps = every_steps
        self.workers = workers
        self.termination = termination

    def on_train_batch_end(self, batch, logs=None):
        """Saves in the middle of an epoch."""
        if batch + 1 == (self.params or {}).get("steps"):
            return  # the end of the epoch saves, with its row in the table
        self.after_step(step_of(self.model))

    def after_step(self, step: int) -> None:
        """Saves in the middle of an epoch, where that is due.

        Args:
            step: int, the number of steps taken.

        Raises:
            PreemptedError: see the class.
        """
        told = self._told_to_end()
        if told or (self.every_steps and step % self.every_steps == 0):
            self.save()
        if told:
            self._end(step)

    def on_epoch_end(self, epoch, logs=None):
        """Saves at the end of an epoch."""
        self.save()
        more = epoch + 1 < (self.params or {}).get("epochs", 0)
        if self._told_to_end() and more:
            self._end(step_of(self.model))

    def save(self) -> None:
        """Writes a checkpoint; of several workers, one does."""
        chief = self.workers is None or self.workers.chief
        self.checkpoints.save(self.model, write=chief)
        if self.workers is not None:
            self.workers.wait()

    def _told_to_end(self):
        requested = self.termination is not None and self.termination.requested
        return (
            requested if self.workers is None else self.workers.any(requested)
        )

    def _end(self, step):
        raise PreemptedError(
            f"told to end (SIGTERM) at step {step}; saved in "
            f"{self.checkpoints.folder}: the same command goes on from there."
        )
