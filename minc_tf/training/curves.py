"""What a run draws while it trains: spectra, TensorBoard. TensorFlow only."""

import os
import shutil

import keras
import tensorflow as tf

from minc_tf import evaluation, report
from minc_tf.training.callbacks import MetricsCSV


class Spectra(keras.callbacks.Callback):
    """Writes the spectra that a monitor measured, a row an epoch.

    A run that resumes drops the rows of epochs that it trains again.

    Args:
        path: path of the CSV file.
        monitor: `minc_tf.evaluation.DiagnosticsMonitor`, which stands before
            it in the list.
        first_epoch: int, the epoch at which this run starts.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        monitor: evaluation.DiagnosticsMonitor,
        first_epoch: int = 0,
    ):
        """See the class."""
        super().__init__()
        self.path = path
        self.monitor = monitor
        self._rows = {}
        if first_epoch and os.path.exists(path):
            rows = report.read_spectra(path).items()
            self._rows = {n: row for n, row in rows if n <= first_epoch}

    def on_epoch_end(self, epoch, logs=None):
        """Adds the row of the epoch, if it was measured."""
        measured = self.monitor.history
        if epoch in measured["epoch"][-1:]:
            self._rows[epoch + 1] = measured["spectrum"][-1]
            report.write_spectra(self.path, self._rows)


class Curves(keras.callbacks.Callback):
    """Writes the rows of a table to TensorBoard, by step.

    The events of a run that resumes are written anew from the table, so no
    step is shown twice.

    Args:
        folder: path of the events of the curves, emptied at the start.
        table: `MetricsCSV`, which stands before it in the list.
    """

    def __init__(self, folder: str | os.PathLike, table: MetricsCSV):
        """See the class."""
        super().__init__()
        self.folder = os.fspath(folder)
        self.table = table
        self._writer = None

    def on_train_begin(self, logs=None):
        """Writes the rows of the epochs before."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._writer = tf.summary.create_file_writer(self.folder)
        for row in self.table.rows:
            self._write(row)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the row of the epoch."""
        self._write(self.table.rows[-1])

    def on_train_end(self, logs=None):
        """Closes the file."""
        self._writer.close()

    def _write(self, row):
        with self._writer.as_default(step=int(row["step"])):
            for name, value in row.items():
                if name not in ("epoch", "step") and value != "":
                    tf.summary.scalar(name, float(value))
        self._writer.flush()
