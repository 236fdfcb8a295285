"""What a run writes for TensorBoard, on TensorFlow; on JAX nothing."""

import pathlib
import shutil

import keras
import numpy as np

from minc_tf.training.callbacks import MetricsCSV


def writes_events() -> bool:
    """Whether a run on this backend does."""
    return keras.backend.backend() == "tensorflow"


def write_picture(events: pathlib.Path, name: str, picture: np.ndarray) -> None:
    """Show a picture, uint8 (height, width, 3), under its name."""
    if not writes_events():
        return
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(events / "pictures"))
    with writer.as_default():
        tf.summary.image(name, picture[None], step=0)
    writer.close()


class Curves(keras.callbacks.Callback):
    """Write rows to TensorBoard; `table` must come before it in the list."""

    def __init__(self, folder: pathlib.Path, table: MetricsCSV):
        super().__init__()
        self.folder = folder
        self.table = table
        self._writer = None

    def on_train_begin(self, logs=None):
        """Write the rows of the epochs before anew: no step comes twice."""
        import tensorflow as tf

        shutil.rmtree(self.folder, ignore_errors=True)
        self._writer = tf.summary.create_file_writer(str(self.folder))
        for row in self.table.rows:
            self._write(row)

    def on_epoch_end(self, epoch, logs=None):
        """Write the row of the epoch."""
        self._write(self.table.rows[-1])

    def on_train_end(self, logs=None):
        """Close the file."""
        self._writer.close()

    def _write(self, row):
        import tensorflow as tf

        with self._writer.as_default(step=int(row["step"])):
            for name, value in row.items():
                if name not in ("epoch", "step") and value != "":
                    tf.summary.scalar(name, float(value))
        self._writer.flush()
