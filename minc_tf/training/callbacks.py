"""What watches a run: finite losses, the tables, the bar."""

import os
import time
from collections.abc import Callable

import keras
import numpy as np

from minc_tf import report
from minc_tf._progress import image_bar
from minc_tf._run_folder import read_table, write_table
from minc_tf._types import Logs
from minc_tf.training.checkpoints import Checkpoints, step_of

#: Logs that stand beside the progress bar, with their short names.
_SHOWN = {"loss": "loss", "knn_accuracy": "kNN"}

#: Logs that differ each time a run is repeated.
CLOCK = ("seconds", "images_per_second")


class StopOnNonFinite(keras.callbacks.Callback):
    """Stop training at the first step whose loss or metrics are not finite.

    Args:
        checkpoints: optional `Checkpoints`, for the last good one in the
            message.
        step: optional function without arguments, the number of the step
            whose logs are seen, where the model may be further.

    Raises:
        FloatingPointError: in `fit`, with the step, the learning rate and the
            checkpoint.

    Example:
    ```python
    model.fit(views, callbacks=[minc_tf.training.StopOnNonFinite()])
    ```
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None = None,
        step: Callable[[], int] | None = None,
    ) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.step = step

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Check the running means: a value that is not finite stays there."""
        for name, value in (logs or {}).items():
            if not np.all(np.isfinite(np.asarray(value))):
                self._stop(f"{name} is {float(np.asarray(value))}")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Check the weights, which are newer than the last loss."""
        for variable in self.model.weights:
            value = keras.ops.convert_to_numpy(variable).astype("float64")
            if not np.all(np.isfinite(value)):
                self._stop(f"{variable.path} is not finite")

    def _stop(self, what):
        saved = self.checkpoints and self.checkpoints.latest
        step = step_of(self.model) if self.step is None else self.step()
        rate = learning_rate_of(self.model)
        raise FloatingPointError(
            f"{what} at step {step} with learning rate "
            f"{rate:.3g}; last good checkpoint: "
            f"{saved or 'none was written'}. Lower the learning rate, or "
            "bound the embeddings (mu)."
        )


def learning_rate_of(model: keras.Model) -> float:
    """The learning rate of the next step, of all but the predictor."""
    optimizer = model.optimizer
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # The default one of several optimizers is the last.
    optimizer = getattr(optimizer, "optimizers", [optimizer])[-1]
    return float(optimizer.learning_rate)


class Throughput(keras.callbacks.Callback):
    """Add the time of an epoch and its rate to the logs.

    `seconds`, wall-clock time of the epoch's steps, and `images_per_second`,
    without the first step of the run, which compiles (unless it is the only
    one).

    Args:
        batch_size: int, images a step.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self._warm = False

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Start the clocks."""
        self._start = self._counted_from = time.perf_counter()
        self._steps = 0

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Count; the run's first step only starts the clock of the rate."""
        if self._warm:
            self._steps += 1
        else:
            self._warm = True
            self._counted_from = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write both into the logs."""
        now = time.perf_counter()
        logs["seconds"] = now - self._start
        elapsed = now - self._counted_from
        if not self._steps:
            self._steps, elapsed = 1, logs["seconds"]
        logs["images_per_second"] = self._steps * self.batch_size / elapsed


class MetricsCSV(keras.callbacks.Callback):
    """Write a row an epoch: step, learning rate and every log.

    A run that resumes drops the rows of epochs that it trains again.

    Args:
        path: path of the CSV file.
        first_epoch: int, the epoch at which this run starts.
        timing: optional path of a second file for what the clock says,
            `seconds` and `images_per_second`: the first is then the same
            whenever the run is repeated.

    Attributes:
        rows: list of dicts, one an epoch, from both files.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        first_epoch: int = 0,
        timing: str | os.PathLike | None = None,
    ) -> None:
        super().__init__()
        self.path = os.fspath(path)
        self.timing = timing and os.fspath(timing)
        self.rows = []
        if first_epoch:
            self.rows = read_table(self.path)[:first_epoch]
        if self.timing and self.rows:
            times = {row["epoch"]: row for row in read_table(self.timing)}
            self.rows = [r | times.get(r["epoch"], {}) for r in self.rows]

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Add a row, and write the table."""
        row = {
            "epoch": epoch + 1,
            "step": step_of(self.model),
            "learning_rate": learning_rate_of(self.model),
        }
        row |= {k: float(np.asarray(v)) for k, v in (logs or {}).items()}
        self.rows.append(row)
        names = list(dict.fromkeys(key for row in self.rows for key in row))
        if self.timing:
            clock = [name for name in names if name in CLOCK]
            write_table(self.timing, ["epoch", *clock], self.rows)
            names = [name for name in names if name not in CLOCK]
        write_table(self.path, names, self.rows)


class Spectra(keras.callbacks.Callback):
    """Write the spectra of `monitor`, which must come before it in the list."""

    def __init__(self, path, monitor, first_epoch: int = 0):
        super().__init__()
        self.path = path
        self.monitor = monitor
        rows = report.read_spectra(path).items() if first_epoch else ()
        self._rows = {epoch: row for epoch, row in rows if epoch <= first_epoch}

    def on_epoch_end(self, epoch, logs=None):
        """Add the row of the epoch, if it was measured."""
        measured = self.monitor.history
        if epoch in measured["epoch"][-1:]:
            self._rows[epoch + 1] = measured["spectrum"][-1]
            report.write_spectra(self.path, self._rows)


class Progress(keras.callbacks.Callback):
    """One progress bar for a whole run: images, rate, time that remains.

    It shows the epoch, and that the first step is being traced, which takes
    seconds without a step.

    Args:
        batch_size: int, images a step.
        steps: int, steps of the whole run.
        first_step: int, the step at which this run starts.
    """

    def __init__(
        self, batch_size: int, steps: int, first_step: int = 0
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.steps = steps
        self.first_step = first_step
        self._bar = None
        self._beside = {}
        self._traced = False
        self._epoch = "pretrain"

    def on_train_begin(self, logs: Logs = None) -> None:
        """Open the bar."""
        self._traced = False
        self._bar = image_bar(
            self._epoch,
            self.steps * self.batch_size,
            self.first_step * self.batch_size,
        )

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Show the epoch, and that the first step is not there yet."""
        of_all = f"/{self.params['epochs']}" if self.params else ""
        self._epoch = f"epoch {epoch + 1}{of_all}"
        # Drawn at once, whatever the bar waits for otherwise.
        self._bar.set_description(
            self._epoch if self._traced else f"{self._epoch}, tracing"
        )

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Move the bar."""
        self._show(logs)
        if not self._traced:
            self._traced = True
            self._bar.set_description(self._epoch)
        self._bar.update(self.batch_size)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Show the kNN accuracy."""
        self._show(logs)

    def on_train_end(self, logs: Logs = None) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Close the bar, also where `fit` ended in an error."""
        if self._bar is not None:
            self._bar.close()

    def _show(self, logs):
        for key, label in _SHOWN.items():
            if key in (logs or {}):
                self._beside[label] = f"{float(np.asarray(logs[key])):.3f}"
        self._bar.set_postfix(self._beside, refresh=False)
