"""The loop of a run on JAX: it stays ahead of the device.

The device has the next step before anything waits for the last one, and the
next batch is made and sent while it works.
"""

from collections.abc import Iterator

import keras
import numpy as np

from minc_tf.models import TwoViewModel
from minc_tf.training.devices import to_devices
from minc_tf.training.loop import SaveCheckpoints


class ArrayLoop:
    """Trains a compiled model from any step to the end of its last epoch.

    Args:
        model: a built and compiled `TwoViewModel`; where it begins in the
            middle of an epoch, with the running means of that epoch.
        steps_per_epoch: int.
        epochs: int, of the whole run.
        first_step: int, the number of steps taken before.

    Attributes:
        watched: int, the number of the step whose logs the callbacks see; the
            model is one step further while an epoch lasts.
    """

    def __init__(
        self,
        model: TwoViewModel,
        steps_per_epoch: int,
        epochs: int,
        first_step: int = 0,
    ):
        """See the class."""
        self.model = model
        self.steps_per_epoch = steps_per_epoch
        self.epochs = epochs
        self.first_step = first_step
        self.watched = first_step

    def run(
        self,
        batches: Iterator[np.ndarray],
        callbacks: list[keras.callbacks.Callback],
        saver: SaveCheckpoints,
    ) -> None:
        """Trains.

        Args:
            batches: endless, from `first_step` on: arrays of images.
            callbacks: Keras callbacks, which see the logs of a step after the
                device was given the next one.
            saver: `SaveCheckpoints`, which sees each step at once.
        """
        # It comes last, once what the others write is there.
        watchers = keras.callbacks.CallbackList(
            [*callbacks, saver],
            model=self.model,
            epochs=self.epochs,
            steps=self.steps_per_epoch,
        )
        self.model.make_train_function()
        sent = map(to_devices, batches)
        watchers.on_train_begin()
        first_epoch, done = divmod(self.first_step, self.steps_per_epoch)
        batch = next(sent)
        for epoch in range(first_epoch, self.epochs):
            if not done:
                self.model.reset_metrics()
            watchers.on_epoch_begin(epoch)
            batch = self._run_epoch(epoch, done, batch, sent, callbacks, saver)
            done = 0
            self.model.jax_state_sync()
            watchers.on_epoch_end(epoch, self.model.get_metrics_result())
        # Optimizers can keep averages of the weights for the end.
        self.model.optimizer.finalize_variable_values(
            self.model.trainable_weights
        )
        watchers.on_train_end()

    def _run_epoch(self, epoch, done, batch, sent, callbacks, saver):
        """The rest of an epoch; returns the first batch of the next."""
        last = self.steps_per_epoch - 1
        start = epoch * self.steps_per_epoch
        behind = None
        for index in range(done, last + 1):
            logs = self._take_step(batch)
            batch = next(sent)
            if behind is not None:
                self._watch(start, *behind, callbacks)
            behind = index, logs
            if index < last:  # the end of the epoch saves
                saver.after_step(start + index + 1)
        self._watch(start, *behind, callbacks)
        return batch

    def _watch(self, start, index, logs, callbacks):
        self.watched = start + index + 1
        for callback in callbacks:
            callback.on_train_batch_end(index, logs)

    def _take_step(self, batch):
        """Gives the device a step; does not wait for it.

        As Keras's own `fit` on JAX (3.15) does it: variables get their values
        back when a callback asks for its model, or the epoch ends.
        """
        model = self.model
        if model._jax_state_synced:
            self._state = model._get_jax_state(
                trainable_variables=True,
                non_trainable_variables=True,
                optimizer_variables=True,
                metrics_variables=True,
            )
            model._jax_state_synced = False
        logs, self._state = model.train_function(self._state, iter((batch,)))
        names = ("trainable", "non_trainable", "optimizer", "metrics")
        keys = (f"{name}_variables" for name in names)
        model._jax_state = dict(zip(keys, self._state, strict=True))
        return logs
