"""The log file of a run or a command: what batch systems have to read."""

import contextlib
import logging
import os
import pathlib
from collections.abc import Iterator

import keras
import numpy as np

from minc_tf._types import Logs
from minc_tf.training.callbacks import learning_rate_of
from minc_tf.training.checkpoints import step_of

#: Lines for log files alone: on a terminal the progress bar shows the same.
_LINES = logging.getLogger("minc_tf.progress")
_LINES.propagate = False


@contextlib.contextmanager
def log_file(path: str | os.PathLike) -> Iterator[None]:
    """Add what the library logs to a file, with the time of each line.

    An error that ends it is the last line.

    Args:
        path: path of the file, extended where it exists.

    Raises:
        OSError: if the file cannot be written to.

    Example:
    ```python
    import minc_tf

    with minc_tf.training.log_file("pretrain.log"):
        pass  # train
    ```
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    loggers = (logging.getLogger("minc_tf"), _LINES)
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        if not logger.isEnabledFor(logging.INFO):
            logger.setLevel(logging.INFO)
    try:
        yield
    except BaseException as error:
        text = " ".join(str(error).split()) or type(error).__name__
        handler.handle(
            _LINES.makeRecord(
                _LINES.name, logging.ERROR, __file__, 0, text, (), None
            )
        )
        raise
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
        handler.close()


class LogLines(keras.callbacks.Callback):
    """Write a line an epoch into the log files: loss, accuracy, time left.

    It stands after `Throughput` in the list.

    Args:
        epochs: int, of the whole run.
        first_epoch: int, the epoch at which this run starts.
    """

    def __init__(self, epochs: int, first_epoch: int = 0) -> None:
        super().__init__()
        self.epochs = epochs
        self.first_epoch = first_epoch
        self._seconds = 0.0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write the line of the epoch."""
        values = {k: float(np.asarray(v)) for k, v in (logs or {}).items()}
        self._seconds += values["seconds"]
        done = epoch + 1
        left = self._seconds / (done - self.first_epoch) * (self.epochs - done)
        parts = [f"epoch {done}/{self.epochs}", f"step {step_of(self.model)}"]
        parts += [
            f"{key} {values[key]:.4g}"
            for key in ("loss", "knn_accuracy")
            if key in values
        ]
        parts.append(f"learning rate {learning_rate_of(self.model):.3g}")
        parts.append(f"{values['images_per_second']:,.0f} images/s")
        parts.append(f"{_duration(left)} left")
        _LINES.info(", ".join(parts))


def _duration(seconds):
    """Hours, minutes and seconds as 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
