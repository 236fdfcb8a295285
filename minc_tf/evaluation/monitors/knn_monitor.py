"""Accuracy of the encoder while it trains."""

import itertools
from typing import TYPE_CHECKING

import keras

from minc_tf._checks import check_int
from minc_tf._types import Logs
from minc_tf.evaluation.checks import check_labels
from minc_tf.evaluation.features import (
    check_finite,
    encoder_function,
    extract,
)
from minc_tf.evaluation.protocols.knn import check_k, knn_accuracy
from minc_tf.models.statistics import present_statistics

if TYPE_CHECKING:
    import tensorflow as tf


class KNNMonitor(keras.callbacks.Callback):
    """Log the kNN accuracy of the live encoder at the end of epochs.

    Puts `knn_accuracy` into the logs of the epoch, so that the progress bar,
    the history, and TensorBoard and CSV loggers that come *after* it in the
    list of callbacks show it. Measured after the first and the last epoch of
    a run and after every `every`-th. The labels serve this number only.

    Args:
        train_batches: finite `tf.data.Dataset`, or list, of dicts `image`: (b,
            H, W, 3), pixel values 0..255, and `label`: int64 (b,): the
            neighbours. A few thousand images are enough to follow a run.
        test_batches: the same for the images to classify. For choices use
            held-out training images, not the test split.
        every: positive int, in epochs.
        k: positive int, number of neighbours, at most the number of images in
            `train_batches`.
        temperature: positive float, see `knn_predict`.

    Attributes:
        history: dict of two lists, `epoch` (from 0) and `knn_accuracy` (in
            [0, 1]).

    Raises:
        TypeError: `every` is not an int.
        ValueError: `every` is below 1. `fit` raises one before it starts
            where the data do not fit: images of a wrong shape, missing labels,
            fewer neighbours than `k`.

    Example:
    ```python
    source = minc_tf.data.load("shapes", num_examples=3000)
    train = source.subset(2000).examples(256)
    monitor = minc_tf.evaluation.KNNMonitor(train, test, every=5, k=20)
    model.fit(views, callbacks=[monitor, keras.callbacks.CSVLogger("m.csv")])
    monitor.history["knn_accuracy"]
    ```

    Source: Wu et al., arXiv 1805.01978, section 3.4.
    """

    def __init__(
        self,
        train_batches: "tf.data.Dataset | list",
        test_batches: "tf.data.Dataset | list",
        *,
        every: int = 1,
        k: int = 200,
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        check_int("every", every, 1, other_type=TypeError)
        self.train_batches = train_batches
        self.test_batches = test_batches
        self.every = every
        self.k = k
        self.temperature = temperature
        self.history = {"epoch": [], "knn_accuracy": []}
        self._encode = None

    def set_model(self, model: keras.Model) -> None:
        """Take the model whose `encoder` is measured.

        Args:
            model: Keras model with an attribute `encoder`.
        """
        super().set_model(model)
        self._encode = encoder_function(model.encoder)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Try one batch of each data set, before an epoch is spent."""
        for name in ("test_batches", "train_batches"):
            batches = getattr(self, name)
            count = check_finite(batches)
            _, labels = extract(
                self._encode, list(itertools.islice(batches, 1))
            )
            check_labels(name, labels, len(labels))
        if count > 0:
            check_k(self.k, count * len(labels))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Measure, and add `knn_accuracy` to the logs."""
        # Also after the first epoch: CSVLogger fixes its columns there.
        last = epoch + 1 == self.params.get("epochs")
        due = (epoch + 1) % self.every == 0
        if not (due or last or epoch == 0):
            return
        accuracy = self.measure()
        self.history["epoch"].append(epoch)
        self.history["knn_accuracy"].append(accuracy)
        if logs is not None:
            logs["knn_accuracy"] = accuracy

    def measure(self) -> float:
        """Compute the accuracy of the encoder as it is now.

        Returns:
            Fraction of right predictions, a float in [0, 1].

        Raises:
            ValueError: as `extract` and `knn_accuracy`.

        Example:
        ```python
        monitor.set_model(model)
        monitor.measure()  # before training
        ```
        """
        with present_statistics(self.model.encoder, self.train_batches):
            known = extract(self._encode, self.train_batches)
            asked = extract(self._encode, self.test_batches)
        return knn_accuracy(
            *known,
            *asked,
            k=self.k,
            temperature=self.temperature,
        )
