"""What watches a run: finite losses, checkpoints, the table, the bar."""

import csv
import os
import sys
import time

import keras
import numpy as np
from tqdm import tqdm

#: Logs that stand beside the progress bar, with their short names.
_SHOWN = {"loss": "loss", "knn_accuracy": "kNN"}


class StopOnNonFinite(keras.callbacks.Callback):
    """Stops training at the first step whose loss or metrics are not finite.

    Args:
        checkpoint: optional path of the last good checkpoint, for the
            message.

    Raises:
        FloatingPointError: in `fit`, with the step, the learning rate and the
            checkpoint.

    Example:
    ```python
    model.fit(views, callbacks=[minc_tf.training.StopOnNonFinite()])
    ```
    """

    def __init__(self, checkpoint: str | os.PathLike | None = None):
        """See the class."""
        super().__init__()
        self.checkpoint = checkpoint

    def on_train_batch_end(self, batch, logs=None):
        """Checks the running means: a value that is not finite stays there."""
        for name, value in (logs or {}).items():
            if not np.all(np.isfinite(np.asarray(value))):
                self._stop(f"{name} is {float(np.asarray(value))}")

    def on_epoch_end(self, epoch, logs=None):
        """Checks the weights, which are newer than the last loss."""
        for variable in self.model.weights:
            value = keras.ops.convert_to_numpy(variable).astype("float64")
            if not np.all(np.isfinite(value)):
                self._stop(f"{variable.path} is not finite")

    def _stop(self, what):
        saved = "none was written"
        if self.checkpoint and os.path.exists(self.checkpoint):
            saved = str(self.checkpoint)
        rate = learning_rate_of(self.model)
        raise FloatingPointError(
            f"{what} at step {step_of(self.model)} with learning rate "
            f"{rate:.3g}; last good checkpoint: {saved}. Lower the learning "
            "rate, or bound the embeddings (mu)."
        )


class AtomicCheckpoint(keras.callbacks.Callback):
    """Saves everything a run needs to go on, at the end of epochs.

    One file: weights, statistics, second moment, target network, random
    generators, optimizer, and the step, which is also the position in the
    data. It is written beside and renamed over the old one, so a crash
    while writing leaves the previous checkpoint.

    Args:
        path: path of the file, ending in `.weights.h5`.

    Example:
    ```python
    saver = minc_tf.training.AtomicCheckpoint("run/last.weights.h5")
    model.fit(views, callbacks=[saver])
    ```
    """

    def __init__(self, path: str | os.PathLike):
        """See the class."""
        super().__init__()
        self.path = os.fspath(path)

    def on_epoch_end(self, epoch, logs=None):
        """Saves."""
        self.save()

    def save(self):
        """Writes the checkpoint."""
        part = f"{self.path.removesuffix('.weights.h5')}.tmp.weights.h5"
        self.model.save_weights(part)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, self.path)


def restore(model: keras.Model, path: str | os.PathLike) -> int:
    """Loads a checkpoint into a compiled model.

    Args:
        model: a built and compiled model of the same settings.
        path: path written by `AtomicCheckpoint`.

    Returns:
        The number of steps taken, the position in the data.

    Raises:
        ValueError: if the file is not a checkpoint of this model.
    """
    model.optimizer.build(model.trainable_variables)
    try:
        model.load_weights(path)
    except (OSError, KeyError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{path} is not a checkpoint of this model: {reason}"
        ) from error
    return step_of(model)


def step_of(model: keras.Model) -> int:
    """The number of training steps that a `TwoViewModel` has taken."""
    return int(keras.ops.convert_to_numpy(model.steps))


def learning_rate_of(model: keras.Model) -> float:
    """The learning rate of the next step, of all but the predictor."""
    optimizer = model.optimizer
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # The default one of several optimizers is the last.
    optimizer = getattr(optimizer, "optimizers", [optimizer])[-1]
    return float(optimizer.learning_rate)


class Throughput(keras.callbacks.Callback):
    """Adds the time of an epoch and its rate to the logs.

    `seconds`, wall-clock time of the epoch's steps, and `images_per_second`,
    without the first step of the run, which compiles (unless it is the only
    one).

    Args:
        batch_size: int, images a step.
    """

    def __init__(self, batch_size: int):
        """See the class."""
        super().__init__()
        self.batch_size = batch_size
        self._warm = False

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clocks."""
        self._start = self._counted_from = time.perf_counter()
        self._steps = 0

    def on_train_batch_end(self, batch, logs=None):
        """Counts; the run's first step only starts the clock of the rate."""
        if self._warm:
            self._steps += 1
        else:
            self._warm = True
            self._counted_from = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Writes both into the logs."""
        now = time.perf_counter()
        logs["seconds"] = now - self._start
        elapsed = now - self._counted_from
        if not self._steps:
            self._steps, elapsed = 1, logs["seconds"]
        logs["images_per_second"] = self._steps * self.batch_size / elapsed


class MetricsCSV(keras.callbacks.Callback):
    """Writes a row an epoch: step, learning rate and every log.

    A run that resumes drops the rows of epochs that it trains again.

    Args:
        path: path of the CSV file.
        first_epoch: int, the epoch at which this run starts.
    """

    def __init__(self, path: str | os.PathLike, first_epoch: int = 0):
        """See the class."""
        super().__init__()
        self.path = os.fspath(path)
        self.rows = []
        if first_epoch and os.path.exists(self.path):
            with open(self.path, newline="") as file:
                rows = list(csv.DictReader(file))
            self.rows = [r for r in rows if int(r["epoch"]) <= first_epoch]

    def on_epoch_end(self, epoch, logs=None):
        """Adds a row and writes the table."""
        row = {
            "epoch": epoch + 1,
            "step": step_of(self.model),
            "learning_rate": learning_rate_of(self.model),
        }
        row |= {k: float(np.asarray(v)) for k, v in (logs or {}).items()}
        self.rows.append(row)
        names = list(dict.fromkeys(key for row in self.rows for key in row))
        part = f"{self.path}.tmp"
        with open(part, "w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(part, self.path)


class Progress(keras.callbacks.Callback):
    """One progress bar for a whole run: images, rate, time that remains.

    Args:
        batch_size: int, images a step.
        steps: int, steps of the whole run.
        first_step: int, the step at which this run starts.
    """

    def __init__(self, batch_size: int, steps: int, first_step: int = 0):
        """See the class."""
        super().__init__()
        self.batch_size = batch_size
        self.steps = steps
        self.first_step = first_step
        self._bar = None
        self._beside = {}

    def on_train_begin(self, logs=None):
        """Opens the bar."""
        self._bar = tqdm(
            total=self.steps * self.batch_size,
            initial=self.first_step * self.batch_size,
            desc="pretrain",
            unit="img",
            unit_scale=True,
            file=sys.stdout,
            dynamic_ncols=True,
            # A log file gets a line now and then instead of ten a second.
            mininterval=0.2 if sys.stdout.isatty() else 10.0,
        )

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar."""
        self._show(logs)
        self._bar.update(self.batch_size)

    def on_epoch_end(self, epoch, logs=None):
        """Shows the kNN accuracy."""
        self._show(logs)

    def on_train_end(self, logs=None):
        """Closes the bar."""
        self.close()

    def close(self):
        """Closes the bar, also where `fit` ended in an error."""
        if self._bar is not None:
            self._bar.close()

    def _show(self, logs):
        for key, label in _SHOWN.items():
            if key in (logs or {}):
                self._beside[label] = f"{float(np.asarray(logs[key])):.3f}"
        self._bar.set_postfix(self._beside, refresh=False)
