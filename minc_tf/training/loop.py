"""The loop of a run: epochs from any step, checkpoints, a clean end.

What `fit` does, but for two things: it can begin in the middle of an epoch,
and devices get a step before those that watch have seen the one before.
"""

import collections

import keras
import numpy as np

from minc_tf._types import Logs
from minc_tf.training.checkpoints import Checkpoints, step_of
from minc_tf.training.devices import Devices
from minc_tf.training.termination import PreemptedError, Termination


class Loop:
    """Train a compiled model from any step to the end of its last epoch.

    Within an epoch the model is `devices.ahead` steps, with `waits` none,
    further than `watched`, the step whose logs the callbacks see.
    """

    def __init__(
        self, devices, steps_per_epoch, epochs, first_step=0, waits=False
    ):
        self.devices = devices
        self.ahead = 0 if waits else devices.ahead
        self.steps_per_epoch = steps_per_epoch
        self.epochs = epochs
        self.first_step = first_step
        self.watched = first_step

    def run(self, model, batches, callbacks, saver) -> None:
        """Train on endless batches, from `first_step` on.

        Where that is in the middle of an epoch, the model has its running
        means. Callbacks see the logs of steps, the saver each step at once.
        """
        # It comes last, once what the others write is there.
        watchers = keras.callbacks.CallbackList(
            [*callbacks, saver],
            model=model,
            epochs=self.epochs,
            steps=self.steps_per_epoch,
            verbose=0,
        )
        model.stop_training = False
        steps = self.devices.steps(model, batches)
        watchers.on_train_begin()
        first_epoch, done = divmod(self.first_step, self.steps_per_epoch)
        for epoch in range(first_epoch, self.epochs):
            if not done:
                model.reset_metrics()
            watchers.on_epoch_begin(epoch)
            self._run_epoch(epoch, done, steps, callbacks, saver)
            done = 0
            self.devices.settle(model)
            watchers.on_epoch_end(epoch, model.get_metrics_result())
            # One process may have callbacks that the others lack.
            if self.devices.any(model.stop_training):
                break
        # Optimizers can keep averages of the weights for the end.
        model.optimizer.finalize_variable_values(model.trainable_weights)
        watchers.on_train_end()

    def _run_epoch(self, epoch, done, steps, callbacks, saver):
        """The rest of an epoch, of whose steps so many are done."""
        start = epoch * self.steps_per_epoch
        unseen = collections.deque()
        for index in range(done, self.steps_per_epoch):
            for callback in callbacks:
                callback.on_train_batch_begin(index)
            unseen.append((index, next(steps)))
            if len(unseen) > self.ahead:
                self._watch(start, *unseen.popleft(), callbacks)
            if index + 1 < self.steps_per_epoch:  # the epoch's end saves
                saver.after_step(start + index + 1)
        while unseen:
            self._watch(start, *unseen.popleft(), callbacks)

    def _watch(self, start, index, logs, callbacks):
        self.watched = start + index + 1
        logs = {name: float(np.asarray(v)) for name, v in logs.items()}
        for callback in callbacks:
            callback.on_train_batch_end(index, logs)


class SaveCheckpoints(keras.callbacks.Callback):
    """Save at the end of epochs, every so many steps, and when told to end.

    It stands last in the list of callbacks, so that what the others write
    is there before the checkpoint that follows it.

    Args:
        checkpoints: `Checkpoints`.
        every_steps: int, save also after each so many steps; 0: not.
        devices: optional `Devices` of a run, of whose processes one writes.
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
        devices: Devices | None = None,
        termination: Termination | None = None,
    ) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.every_steps = every_steps
        self.devices = devices or Devices()
        self.termination = termination

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Save in the middle of an epoch."""
        if batch + 1 == (self.params or {}).get("steps"):
            return  # the end of the epoch saves, with its row in the table
        self.after_step(step_of(self.model))

    def after_step(self, step: int) -> None:
        """Save in the middle of an epoch, where the step is due."""
        told = self._told_to_end()
        if told or (self.every_steps and step % self.every_steps == 0):
            self.save()
        if told:
            self._end(step)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Save at the end of an epoch."""
        self.save()
        more = epoch + 1 < (self.params or {}).get("epochs", 0)
        if self._told_to_end() and more:
            self._end(step_of(self.model))

    def save(self) -> None:
        """Write a checkpoint; of several processes, one does."""
        self.checkpoints.save(self.model, write=self.devices.chief)
        self.devices.wait()

    def _told_to_end(self):
        requested = self.termination is not None and self.termination.requested
        return self.devices.any(requested)

    def _end(self, step):
        self.devices.leave(self.checkpoints.path_of(step).exists)
        raise PreemptedError(
            f"told to end (SIGTERM) at step {step}; saved in "
            f"{self.checkpoints.folder}: the same command goes on from there."
        )
