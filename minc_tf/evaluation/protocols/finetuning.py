"""Fine-tuning: the whole encoder and a linear classifier, on few labels."""

import math
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from minc_tf._checks import check_int
from minc_tf.data import ImageSource
from minc_tf.evaluation.checks import check_held_out
from minc_tf.evaluation.protocols.heads import START
from minc_tf.evaluation.protocols.labelled_images import (
    check_splits,
    labelled_batches,
)
from minc_tf.evaluation.protocols.learning_rates import (
    check_learning_rates,
    choose_rate,
    momentum_step,
    progress_bar,
    scheduled,
)
from minc_tf.evaluation.protocols.subsets import (
    hold_out_of_classes,
    labelled_fraction,
)
from minc_tf.export import SavedEncoder, load_savedmodel
from minc_tf.export.saved_encoder import not_trainable


def finetune(
    path: str | os.PathLike | SavedEncoder,
    train: ImageSource,
    test: ImageSource,
    *,
    fraction: float = 1.0,
    learning_rates: float | Sequence[float] = (0.0125, 0.05, 0.2, 0.8),
    epochs: int = 30,
    batch_size: int = 256,
    held_out: float = 0.1,
    seed: int = 0,
    augment: bool = True,
    verbose: int = 0,
) -> dict[str, float]:
    """Test accuracy of an encoder that is trained further, with labels.

    The semi-supervised protocol of SimCLR: the encoder in training mode, with
    batch statistics, and a new linear classifier on its features are trained
    together on a part of the labels, without weight decay or warm-up, by
    Nesterov's momentum 0.9 and a learning rate of `learning_rate * batch_size /
    256` that decays to zero by a cosine. Training images are cropped at random
    and flipped, test images are not.

    Each learning rate is tried from the exported weights. The one with the
    highest accuracy on a held-out part of the labelled images is trained again
    on all of them; of `test` images are read once, at the end. The SavedModel,
    its files and the loaded one, is afterwards as it was.

    Args:
        path: a version folder, or the folder of versions (the latest), or a
            `SavedEncoder`.
        train: `ImageSource` of the training split, labelled, of images of the
            encoder's size.
        test: `ImageSource` of the test split. A class that `train` lacks
            counts as an error of the prediction.
        fraction: float in (0, 1], the part of the training images whose labels
            are used, the same in every class; see `labelled_fraction`.
        learning_rates: positive float, or a sequence to choose from.
        epochs: int >= 1, over the labelled images; SimCLR takes 30, and 60 with
            1 % of the labels.
        batch_size: int >= 2, even; of fewer labelled images the largest
            multiple of 8 or, below 8, of 2.
        held_out: float in (0, 1), the part of each class's labelled images that
            chooses the learning rate; at least one where there are two.
        seed: int >= 0, of the labelled and the held-out images, the classifier,
            the order and the crops.
        augment: bool, whether to crop and flip.
        verbose: int, 1 shows progress bars.

    Returns:
        Dict of floats: `accuracy` in [0, 1], `learning_rate`, `images`, the
        number of labelled images, and, where there was a choice,
        `held_out_accuracy`.

    Raises:
        FileNotFoundError: there is no SavedModel at `path`.
        FloatingPointError: training diverged with every learning rate.
        TypeError: a split is no `ImageSource`.
        ValueError: the SavedModel has no function to train or features that
            are not finite, an argument is out of range, labels are missing, of
            a single class or too few to hold some out, or images have another
            size.

    Example:
    ```python
    train = minc_tf.data.load("shapes", split="train")
    test = minc_tf.data.load("shapes", split="test")
    minc_tf.evaluation.finetune("savedmodels/shapes", train, test, fraction=0.1)
    ```

    Source: Chen et al., arXiv 2002.05709, section 6 and appendix B.5.
    """
    rates = check_learning_rates(learning_rates)
    check_held_out(held_out)
    check_int("epochs", epochs, 1)
    check_even("batch_size", batch_size)
    encoder = load_savedmodel(path)
    network = encoder.trainable()
    train_y, test_y, classes = check_splits(train, test, encoder.image_shape())
    rows = labelled_fraction(train_y, fraction, seed)
    if len(rates) > 1:
        kept, held = hold_out_of_classes(train_y[rows], held_out, seed)
        if not len(held):
            raise ValueError(
                "fraction must leave two images of a class to hold one out; "
                f"received {fraction} of {len(train)}, {len(rows)} images of "
                f"{len(rows)} classes; raise it or give one learning rate"
            )

    shape = train.image_shape
    try:
        features = network(tf.zeros((1, *shape)), training=False)
    except (TypeError, ValueError) as error:
        raise not_trainable(encoder.path) from error
    for values in (features, *network.variables):
        if values.dtype.is_floating and not np.isfinite(values).all():
            raise not_finite(encoder.path)
    tuner = _Tuner(network, shape, (features.shape[-1], classes), seed)

    def tuned_accuracy(rate, used, source, measured, labels):
        """Train on the rows `used`, measure on rows of a source."""
        size = fitting_batch(batch_size, len(used))
        steps = epochs * len(used) // size
        batches = labelled_batches(
            train, used, size, epochs=epochs, seed=seed, augment=augment
        )
        tuner.restart()
        show = progress_bar(steps, verbose)
        for step, (x, y) in enumerate(batches):
            loss = tuner.train(x, y, rate * scheduled(size, step, steps))
            show(step, loss=loss)
            if not math.isfinite(loss):
                if step == 0:  # before any learning rate has been applied
                    raise not_finite(encoder.path)
                return None
        return tuner.accuracy(source, measured, labels, batch_size)

    found = {"learning_rate": rates[0]}
    try:
        if len(rates) > 1:
            kept, held = rows[kept], rows[held]
            accuracies = [
                tuned_accuracy(rate, kept, train, held, train_y[held])
                for rate in rates
            ]
            rate, best = choose_rate(rates, accuracies)
            found = {"learning_rate": rate, "held_out_accuracy": best}
        final = found["learning_rate"]
        every = np.arange(len(test))
        accuracy = tuned_accuracy(final, rows, test, every, test_y)
    finally:
        tuner.restart()  # the loaded encoder may be used for more
    _, accuracy = choose_rate([final], [accuracy])
    return {"accuracy": accuracy, **found, "images": float(len(rows))}


def check_even(name: str, value: int) -> None:
    """Refuse odd batches: oneDNN's gradients of narrow convolutions crash."""
    check_int(name, value, 1)
    if value % 2:
        raise ValueError(
            f"{name} must be even to train an encoder, on some processors odd "
            f"ones crash; received {value}"
        )


def fitting_batch(batch_size: int, images: int) -> int:
    """Return the batch size, or the largest multiple of 8, else 2, there is."""
    if images >= batch_size:
        return batch_size
    # Never odd, see `check_even`; remainders come in the next epoch's order.
    return images - images % (8 if images >= 8 else 2)


def not_finite(path: str) -> ValueError:
    """The error of an encoder that fails before any training."""
    return ValueError(
        "features must be finite; received NaN or infinite values from the "
        f"weights of {path!r} as they were exported"
    )


class _Tuner:
    """A loaded encoder and a linear classifier, which train together."""

    def __init__(self, encoder, image_shape, head_shape, seed):
        self._encoder = encoder
        start = np.random.default_rng(seed).normal(0, START, head_shape)
        self._weights = tf.Variable(start.astype("float32"))
        self._bias = tf.Variable(tf.zeros(head_shape[1]))
        head = [self._weights, self._bias]
        self._trained = [*encoder.trainable_variables, *head]
        self._momenta = [
            tf.Variable(tf.zeros_like(v), trainable=False)
            for v in self._trained
        ]
        self._state = [*encoder.variables, *head, *self._momenta]
        self._start = [v.numpy() for v in self._state]
        images = tf.TensorSpec((None, *image_shape), tf.float32)
        labels = tf.TensorSpec((None,), tf.int64)
        rate = tf.TensorSpec((), tf.float32)
        self._step = tf.function(self._step_of).get_concrete_function(
            images, labels, rate
        )
        self._predict = tf.function(self._predicted).get_concrete_function(
            images
        )

    def restart(self):
        """Go back to the exported weights and the first classifier."""
        for variable, value in zip(self._state, self._start, strict=True):
            variable.assign(value)

    def train(self, images, labels, rate):
        """Take one step; return the loss, a float."""
        return float(self._step(images, labels, tf.constant(rate)))

    def accuracy(self, source, rows, labels, batch_size):
        """Return the part of the rows of a source that is predicted right."""
        indices = tf.data.Dataset.from_tensor_slices(rows)
        batches = source.batches(indices, batch_size)
        predicted = [
            self._predict(tf.cast(batch["image"], tf.float32)).numpy()
            for batch in batches.prefetch(tf.data.AUTOTUNE)
        ]
        return float(np.mean(np.concatenate(predicted) == labels))

    def _step_of(self, images, labels, rate):
        with tf.GradientTape() as tape:
            features = self._encoder(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, features @ self._weights + self._bias
            )
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(
            loss,
            self._trained,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        for variable, momentum, gradient in zip(
            self._trained, self._momenta, gradients, strict=True
        ):
            momentum_step(variable, momentum, gradient, rate, nesterov=True)
        return loss

    def _predicted(self, images):
        features = self._encoder(images, training=False)
        return tf.argmax(features @ self._weights + self._bias, 1)
