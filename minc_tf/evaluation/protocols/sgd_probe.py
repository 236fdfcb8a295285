"""Linear probe by gradient descent on augmented images, as the papers do."""

import dataclasses
import os
from collections.abc import Callable, Sequence

import numpy as np

from minc_tf._checks import check_choice, check_int
from minc_tf.data import ImageSource, eval_batches
from minc_tf.diagnostics.vectors import check_features
from minc_tf.evaluation.checks import check_held_out
from minc_tf.evaluation.features import (
    extract,
)
from minc_tf.evaluation.protocols.heads import OPTIMIZERS, LinearHeads
from minc_tf.evaluation.protocols.labelled_images import (
    check_splits,
    labelled_batches,
    row_batches,
)
from minc_tf.evaluation.protocols.learning_rates import (
    check_learning_rates,
    choose_rate,
    progress_bar,
    scheduled,
)
from minc_tf.evaluation.protocols.standardize import (
    Standardizer,
)
from minc_tf.evaluation.protocols.subsets import hold_out
from minc_tf.export import SavedEncoder, load_savedmodel

_RATES = {
    "sgd": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    # The ratio makes steps small: the fewer there are, the higher the rate.
    "lars": (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
}


def linear_sgd(
    path: str | os.PathLike | SavedEncoder,
    train: ImageSource,
    test: ImageSource,
    *,
    output: str = "features",
    optimizer: str = "sgd",
    learning_rates: float | Sequence[float] | None = None,
    epochs: int = 30,
    batch_size: int = 256,
    held_out: float = 0.1,
    seed: int = 0,
    augment: bool = True,
    features: tuple[np.ndarray, np.ndarray] | None = None,
    verbose: int = 0,
) -> dict[str, float]:
    """Test accuracy of a linear classifier on a frozen encoder, by SGD.

    The protocol of the papers: the encoder sees a new random crop, flipped or
    not, of every image in every epoch; a linear classifier with a bias is
    trained on what it returns, without weight decay, by momentum 0.9 and a
    learning rate of `learning_rate * batch_size / 256` that decays to zero by a
    cosine. Test images are not augmented. `linear_accuracy`, which needs the
    features of every image once, is far cheaper and about as high.

    All learning rates are tried at once, as classifiers side by side on the
    same features. The one with the highest accuracy on a held-out part of
    `train` is trained again on all of it; of `test` images are read once, at
    the end.

    Features are standardised with the mean and the variance of the training
    images without augmentation, so that one learning rate suits all encoders:
    batch normalisation without scale and shift, but with fixed statistics.

    Args:
        path: a version folder, or the folder of versions (the latest), or a
            `SavedEncoder`.
        train: `ImageSource` of the training split, labelled, of images of the
            encoder's size.
        test: `ImageSource` of the test split. A class that `train` lacks
            counts as an error of the prediction.
        output: signature to evaluate. Of an `"embedding"` that is ordered, the
            first coordinate, the constant function, is left out.
        optimizer: `"sgd"`, with Nesterov's momentum, or `"lars"`, as
            `minc_tf.optimizers.LARS`, whose ratio is that of each classifier.
        learning_rates: positive float, or a sequence to choose from; `None`
            tries seven, from 0.003 to 3, with LARS from 0.03 to 30.
        epochs: int >= 1.
        batch_size: int >= 1; a smaller training split is one batch.
        held_out: float in (0, 1), the part of `train` that chooses the
            learning rate.
        seed: int >= 0, of the held-out part, the start, the order and the
            crops.
        augment: bool; with `False` images pass the encoder once in all.
        features: what `extract` returns of all images of `train` and of
            `test`, float32 (N, D) and (M, D), where it is known, as of an
            earlier seed; `None` extracts it.
        verbose: int, 1 shows progress bars.

    Returns:
        Dict of floats: `accuracy` in [0, 1], `learning_rate` and, where there
        was a choice, `held_out_accuracy`.

    Raises:
        FileNotFoundError: there is no SavedModel at `path`.
        FloatingPointError: training diverged with every learning rate.
        TypeError: a split is no `ImageSource`.
        ValueError: an argument out of range, an unknown signature, missing
            labels, a single class, or images of another size.

    Example:
    ```python
    train = minc_tf.data.load("shapes", split="train")
    test = minc_tf.data.load("shapes", split="test")
    minc_tf.evaluation.linear_sgd("savedmodels/shapes", train, test, epochs=10)
    ```

    Source: Chen & He, arXiv 2011.10566, appendix A, and Chen et al., arXiv
    2002.05709, appendix B.6; the normalisation of He et al., arXiv 2111.06377,
    appendix A.1.
    """
    check_choice("optimizer", optimizer, OPTIMIZERS)
    if learning_rates is None:
        learning_rates = _RATES[optimizer]
    rates = check_learning_rates(learning_rates)
    check_held_out(held_out)
    check_int("epochs", epochs, 1)
    check_int("batch_size", batch_size, 1)
    check_int("seed", seed, 0)
    encoder = load_savedmodel(path)
    train_y, test_y, classes = check_splits(
        train, test, encoder.image_shape(output)
    )
    if len(rates) > 1:
        kept, held = hold_out(len(train), held_out, seed)

    encode = encoder.encoder_function(output)

    train_x, test_x = features or (None, None)
    if features is not None:
        dim = encoder.encoder_dim(output)
        train_x = check_features("features[0]", train_x, dim, len(train))
        test_x = check_features("features[1]", test_x, dim, len(test))

    def features_of(source, known):
        if known is not None:
            return known
        batches = eval_batches(source, batch_size)
        return extract(encode, batches, verbose=verbose)[0]

    probe = _Probe(
        encode=encode,
        source=train,
        x=features_of(train, train_x),
        y=train_y,
        classes=classes,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        augment=augment,
        verbose=verbose,
    )
    found = {"learning_rate": rates[0]}
    if len(rates) > 1:
        accuracies = probe.fit(kept, rates)(probe.x[held], train_y[held])
        rate, accuracy = choose_rate(rates, accuracies)
        found = {"learning_rate": rate, "held_out_accuracy": accuracy}
    final = [found["learning_rate"]]
    measure = probe.fit(np.arange(len(train)), final)
    _, accuracy = choose_rate(final, measure(features_of(test, test_x), test_y))
    return {"accuracy": accuracy, **found}


@dataclasses.dataclass(frozen=True)
class _Probe:
    """The training of heads on rows of the training split."""

    encode: Callable
    source: ImageSource
    x: np.ndarray  # features without augmentation
    y: np.ndarray
    classes: int
    optimizer: str
    epochs: int
    batch_size: int
    seed: int
    augment: bool
    verbose: int

    def fit(self, rows, rates):
        """Train one head a rate; return the function of their accuracies."""
        scaler = Standardizer(self.x[rows])
        heads = LinearHeads(
            rates,
            self.x.shape[1],
            self.classes,
            optimizer=self.optimizer,
            seed=self.seed,
        )
        size = min(self.batch_size, len(rows))
        steps = self.epochs * len(rows) // size
        bar = progress_bar(steps, self.verbose)
        for step, (x, y) in enumerate(self._batches(rows, size)):
            heads.train(scaler(x), y, scheduled(size, step, steps))
            bar(step)
        return lambda x, y: heads.accuracies(scaler(x), y)

    def _batches(self, rows, size):
        drawn = {"epochs": self.epochs, "seed": self.seed}
        if self.augment:
            for images, labels in labelled_batches(
                self.source, rows, size, augment=True, **drawn
            ):
                yield self.encode(images), labels
        else:
            for batch in row_batches(rows, size, **drawn).as_numpy_iterator():
                yield self.x[batch], self.y[batch]
