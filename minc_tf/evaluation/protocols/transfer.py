"""Transfer of frozen features to the classes of another data set."""

from collections.abc import Sequence

import numpy as np

from minc_tf.evaluation.checks import check_labels
from minc_tf.evaluation.protocols.knn import knn_accuracy
from minc_tf.evaluation.protocols.linear import LinearProbe
from minc_tf.evaluation.protocols.seeds import over_seeds


def transfer_accuracy(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    *,
    k: int | Sequence[int] = (20, 200),
    temperature: float = 0.07,
    seeds: Sequence[int] = (0,),
) -> dict:
    """Linear probe and kNN on features of another data set.

    Data sets of unequal classes are compared by the mean over the classes of
    the accuracy within each.

    Args:
        train: features, float32 (N, D), and labels, int64 (N,), of the other
            data set's training split.
        test: the same of its test split.
        k: positive int, or several, number of neighbours.
        temperature: positive float, of the kNN votes.
        seeds: sequence of int, of the held-out parts that choose the probe's
            penalty.

    Returns:
        Dict: `linear_accuracy`, `linear_class_accuracy`, `linear_l2`,
        `linear_held_out_accuracy` (and intervals, see `over_seeds`), and
        `knn_accuracy_k<k>` for each k.

    Raises:
        TypeError: labels or `k` are not integers.
        ValueError: data that do not fit.

    Example:
    ```python
    encoder = load_savedmodel("savedmodels/shapes")
    train = extract(encoder, minc_tf.data.load("cifar10").examples(256))
    test = extract(encoder, minc_tf.data.load("cifar10", "test").examples(256))
    transfer_accuracy(train, test)["linear_class_accuracy"]
    ```

    Source: Kornblith et al., "Do Better ImageNet Models Transfer Better?",
    arXiv 1805.08974, section 3.
    """
    x, y = test
    y = check_labels("test_labels", y, len(x))

    def probe(seed):
        fitted = LinearProbe(seed=seed).fit(*train)
        predicted = fitted.predict(x)
        return {
            "accuracy": float(np.mean(predicted == y)),
            "class_accuracy": class_accuracy(y, predicted),
            "l2": fitted.l2,
            "held_out_accuracy": fitted.held_out_accuracy,
        }

    ks = [k] if np.ndim(k) == 0 else k
    nearest = knn_accuracy(*train, x, y, k=ks, temperature=temperature)
    return {
        **over_seeds("linear", probe, seeds),
        **{f"knn_accuracy_k{n}": value for n, value in nearest.items()},
    }


def class_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of the accuracies within classes (arXiv 1805.08974, section 3)."""
    counts = np.bincount(labels)
    right = np.bincount(labels[labels == predicted], minlength=len(counts))
    present = counts > 0
    return float(np.mean(right[present] / counts[present]))
