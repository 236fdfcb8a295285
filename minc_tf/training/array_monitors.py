"""What measures a run on JAX while it trains, from arrays of images."""

import logging

import jax
import keras
import numpy as np
from ml_collections import ConfigDict

from minc_tf.data.npz import Arrays
from minc_tf.evaluation.checks import check_classes, check_labels
from minc_tf.evaluation.monitors.spread import measure_spread
from minc_tf.evaluation.protocols.knn import knn_accuracy
from minc_tf.models.view_pairs import shares
from minc_tf.training.devices import to_devices
from minc_tf.training.source_checks import check_neighbours

_LOGGER = logging.getLogger(__name__)

#: Images whose embeddings are measured.
_SPREAD_IMAGES = 512
#: Images that are embedded at once.
_PART = 256


class Embedder:
    """The compiled inference of a model, with its weights as they are.

    Args:
        model: built Keras model, images (B, H, W, 3) -> vectors (B, D).
    """

    def __init__(self, model: keras.Model):
        """See the class."""
        self.model = model

        def infer(trainable, held, images):
            images = keras.ops.cast(images, "float32")
            vectors, _ = model.stateless_call(
                trainable, held, images, training=False
            )
            return keras.ops.cast(vectors, "float32")

        self._infer = jax.jit(infer)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Embeds uint8 images (N, H, W, 3); returns a float32 array (N, D)."""
        state = [
            [variable.value for variable in variables]
            for variables in (
                self.model.trainable_variables,
                self.model.non_trainable_variables,
            )
        ]
        # Parts of one size, which the devices can share, compile once.
        size = -(-min(_PART, len(images)) // shares()) * shares()
        found = []
        for start in range(0, len(images), size):
            rows = np.arange(start, start + size)
            part = images.take(rows, axis=0, mode="clip")
            found.append(self._infer(*state, to_devices(part)))
        return np.concatenate(found)[: len(images)]


class SpreadMonitor(keras.callbacks.Callback):
    """`minc_tf.evaluation.CollapseMonitor` on arrays.

    Args:
        config: the run's settings.
        images: `Arrays` in the size of the views.

    Attributes:
        reason: string, what was wrong at the last epoch; empty if nothing was.
    """

    def __init__(self, config: ConfigDict, images: Arrays):
        """See the class."""
        super().__init__()
        self.reason = ""
        self._images = _some(images, _SPREAD_IMAGES, config.seed).images
        self._embed = None

    def set_model(self, model):
        """Takes the model, images -> embeddings, that is measured."""
        super().set_model(model)
        if self._embed is None:
            self._embed = Embedder(model)

    def on_epoch_end(self, epoch, logs=None):
        """Measures, adds to the logs, and warns where it is new."""
        before = self.reason
        logs.update(self.measure())
        if self.reason and not before:
            _LOGGER.warning("epoch %d: %s", epoch + 1, self.reason)

    def measure(self) -> dict:
        """Measures the model as it is now, and sets `reason`.

        Returns:
            dict of floats, `embedding_std` and `embedding_rank`.
        """
        spread = measure_spread(self._embed(self._images))
        self.reason = spread.reason
        return spread.logs()


class NeighbourMonitor(keras.callbacks.Callback):
    """`minc_tf.evaluation.KNNMonitor` on arrays.

    Args:
        config: the run's settings.
        train: `Arrays` with labels, in the size of the views.
        test: the same, the images to classify.
    """

    def __init__(self, config: ConfigDict, train: Arrays, test: Arrays):
        """See the class."""
        super().__init__()
        count, seed = config.monitor.num_examples, config.seed
        self.every = config.monitor.every
        self.k = config.monitor.k
        self._train = _some(train, count, seed)
        self._test = _some(test, count, seed)
        self._encode = None

    def set_model(self, model):
        """Takes the model whose `encoder` is measured."""
        super().set_model(model)
        self._encode = Embedder(model.encoder)

    def on_epoch_end(self, epoch, logs=None):
        """Adds `knn_accuracy` to the logs, where it is due."""
        last = epoch + 1 == self.params["epochs"]
        if not ((epoch + 1) % self.every == 0 or last or epoch == 0):
            return
        logs["knn_accuracy"] = knn_accuracy(
            self._encode(self._train.images),
            self._train.labels,
            self._encode(self._test.images),
            self._test.labels,
            k=self.k,
        )


def neighbour_monitor(
    config: ConfigDict, train: Arrays, test: Arrays | None
) -> list[keras.callbacks.Callback]:
    """The kNN monitor, unless it is off or the images have no labels.

    Args:
        config: the run's settings.
        train: `Arrays` in the size of the views.
        test: the same of the test split, or None.

    Raises:
        ValueError: if there are fewer images than neighbours, or labels are
            missing or all the same.
    """
    labelled = (
        test is not None
        and train.labels is not None
        and test.labels is not None
    )
    if not config.monitor.every or not labelled:
        return []
    check_neighbours(config, train)
    for arrays in (train, test):
        name = f"the labels of {arrays.name}/{arrays.split}"
        check_labels(name, arrays.labels, len(arrays))
    check_classes(f"{train.name}/{train.split}", train.labels)
    return [NeighbourMonitor(config, train, test)]


def _some(arrays, count, seed):
    """At most so many of the images."""
    return arrays.subset(min(count, len(arrays)), seed)
