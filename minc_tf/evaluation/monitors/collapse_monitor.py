"""Whether the embeddings collapse while a model trains."""

import logging
from typing import TYPE_CHECKING

import keras

from minc_tf._types import Logs
from minc_tf.evaluation.features import (
    check_finite,
    encoder_function,
    extract,
)
from minc_tf.evaluation.monitors.spread import measure_spread
from minc_tf.models.statistics import present_statistics

if TYPE_CHECKING:
    import tensorflow as tf

_LOGGER = logging.getLogger(__name__)


class CollapseMonitor(keras.callbacks.Callback):
    """Measure and report the collapse of embeddings at the end of epochs.

    Puts `embedding_std` and `embedding_rank` into the logs of the epoch
    (`minc_tf.diagnostics.embedding_std`, `effective_rank`, of the projector's
    outputs at inference), and logs one warning when the embeddings of all
    images point the same way (spread below 0.1) or lie on a line (rank below
    1.05). A network can pass such a state in its first epochs; one that stays
    there has collapsed.

    Args:
        batches: finite `tf.data.Dataset`, or list, of dicts `image`: (b, H, W,
            3), pixel values 0..255, and `label` (unused). A few hundred
            different images are enough.

    Attributes:
        reason: string, what was wrong at the last epoch; empty if nothing was.

    Example:
    ```python
    source = minc_tf.data.load("shapes", num_examples=512)
    monitor = minc_tf.evaluation.CollapseMonitor(source.examples(256))
    model.fit(views, callbacks=[monitor])
    assert not monitor.reason
    ```
    """

    def __init__(self, batches: "tf.data.Dataset | list") -> None:
        super().__init__()
        self.batches = batches
        self.reason = ""
        self._embed = None

    def set_model(self, model: keras.Model) -> None:
        """Take the model, images -> embeddings, that is measured."""
        super().set_model(model)
        self._embed = encoder_function(model)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Check the data set before an epoch is spent."""
        check_finite(self.batches)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Measure, add to the logs, and warn where it is new."""
        before = self.reason
        measured = self.measure()
        if logs is not None:
            logs.update(measured)
        if self.reason and not before:
            _LOGGER.warning("epoch %d: %s", epoch + 1, self.reason)

    def measure(self) -> dict:
        """Measure the model as it is now, and set `reason`.

        Returns:
            dict of floats, `embedding_std` and `embedding_rank`.
        """
        with present_statistics(self.model, self.batches):
            embeddings, _ = extract(self._embed, self.batches)
        spread = measure_spread(embeddings)
        self.reason = spread.reason
        return spread.logs()
