"""Whether the embeddings collapse while a model trains."""

import dataclasses
import logging

import keras
import tensorflow as tf

from minc_tf import diagnostics
from minc_tf.evaluation.features import (
    check_finite,
    encoder_function,
    extract,
)

_LOGGER = logging.getLogger(__name__)

#: Below these the embeddings no longer tell images apart.
_SMALLEST_STD, _SMALLEST_RANK = 0.1, 1.05


@dataclasses.dataclass(frozen=True)
class Spread:
    """How far embeddings are from having collapsed.

    Attributes:
        std: float, `minc_tf.diagnostics.embedding_std`.
        rank: float, `minc_tf.diagnostics.effective_rank`.
        dim: int, number of dimensions.
    """

    std: float
    rank: float
    dim: int

    @property
    def margin(self) -> float:
        """What is left over what is the least; below one is a collapse."""
        least = self.std / _SMALLEST_STD
        if least < 1.0:
            return least
        return (self.rank - 1.0) / (_SMALLEST_RANK - 1.0)

    @property
    def reason(self) -> str:
        """What is wrong, in words; empty if nothing is."""
        if self.margin >= 1.0:
            return ""
        if self.std < _SMALLEST_STD:
            return (
                "the embeddings of all images point the same way (spread "
                f"{self.std:.3f} of 1)"
            )
        return (
            f"the embeddings lie on a line (effective rank {self.rank:.2f} of "
            f"{self.dim} dimensions)"
        )

    def logs(self) -> dict[str, float]:
        """Returns both numbers under the names that they have in logs."""
        return {"embedding_std": self.std, "embedding_rank": self.rank}


def measure_spread(embeddings) -> Spread:
    """Measures the spread of embeddings.

    Args:
        embeddings: float array (N, d).

    Returns:
        A `Spread`.

    Raises:
        ValueError: if the shape is not (N, d).

    Example:
    ```python
    spread = measure_spread(np.ones((8, 4)))
    print(spread.reason)  # the embeddings of all images point the same way ...
    ```
    """
    return Spread(
        float(diagnostics.embedding_std(embeddings)),
        float(diagnostics.effective_rank(embeddings)),
        embeddings.shape[1],
    )


class CollapseMonitor(keras.callbacks.Callback):
    """Measures and reports the collapse of embeddings at the end of epochs.

    Puts `embedding_std` and `embedding_rank` into the logs of the epoch
    (`minc_tf.diagnostics.embedding_std`, `effective_rank`, of the projector's
    outputs at inference), and logs one warning when the embeddings of all
    images point the same way (spread below 0.1) or lie on a line (rank below
    1.05). A network can pass such a state in its first epochs; one that stays
    there has collapsed.

    Args:
        batches: finite `tf.data.Dataset` of dicts `image`: (b, H, W, 3), pixel
            values 0..255, and `label` (unused). A few hundred different
            images are enough.

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

    def __init__(self, batches: tf.data.Dataset):
        super().__init__()
        self.batches = batches
        self.reason = ""
        self._embed = None

    def set_model(self, model):
        """Take the model, images -> embeddings, that is measured."""
        super().set_model(model)
        self._embed = encoder_function(model)

    def on_train_begin(self, logs=None):
        """Check the data set before an epoch is spent."""
        check_finite(self.batches)

    def on_epoch_end(self, epoch, logs=None):
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
        embeddings, _ = extract(self._embed, self.batches)
        spread = measure_spread(embeddings)
        self.reason = spread.reason
        return spread.logs()
