"""Protocols on features that are computed once."""

from collections.abc import Sequence

import numpy as np

from minc_tf.evaluation.checks import check_ranks
from minc_tf.evaluation.protocols.knn import knn_accuracy
from minc_tf.evaluation.protocols.linear import linear_accuracy
from minc_tf.evaluation.protocols.retrieval import retrieval_metrics
from minc_tf.evaluation.protocols.ridge import ridge_accuracy
from minc_tf.evaluation.protocols.seeds import over_seeds


def evaluate_features(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    *,
    protocols: Sequence[str] = ("knn", "linear"),
    k: int | Sequence[int] = (20, 200),
    temperature: float = 0.07,
    recall_at: int | Sequence[int] = (1, 5, 10),
    seed: int = 0,
    seeds: int = 1,
) -> dict:
    """Evaluate features that are there already, as `evaluate_savedmodel`.

    Args:
        train: features, float32 (N, D), and labels, int64 (N,), of the
            training split.
        test: the same of the test split.
        protocols: names out of `"knn"`, `"linear"`, `"ridge"` and
            `"retrieval"`.
        k: number of neighbours of `knn`, or several.
        temperature: positive float, of the kNN votes.
        recall_at: the k of retrieval's recall@k, or several: the test samples
            search the training samples.
        seed: int, of the held-out part that chooses a penalty.
        seeds: int, how many held-out parts to draw, by the seeds from `seed`
            on.

    Returns:
        Dict, see `evaluate_savedmodel`.

    Raises:
        TypeError: labels, `k`, `recall_at` or `seeds` are not integers.
        ValueError: an unknown protocol, or data that do not fit.

    Example:
    ```python
    train = minc_tf.data.load("shapes", split="train").examples(256)
    test = minc_tf.data.load("shapes", split="test").examples(256)
    train, test = map(minc_tf.evaluation.raw_pixels, (train, test))
    minc_tf.evaluation.evaluate_features(train, test, protocols=["knn"])
    ```
    """
    check_protocols(protocols, ON_FEATURES)
    settings = {
        "k": k,
        "temperature": temperature,
        "recall_at": recall_at,
        "seeds": seed_range(seed, seeds),
    }
    results = {}
    for name in protocols:
        results.update(ON_FEATURES[name](train, test, settings))
    return results


def check_protocols(protocols: Sequence[str], known: Sequence[str]) -> None:
    """Refuse protocols that are not among those known, or none."""
    if (
        isinstance(protocols, str)
        or not len(protocols)
        or any(name not in known for name in protocols)
    ):
        raise ValueError(
            f"protocols must be a sequence out of {', '.join(known)}; "
            f"received {protocols!r}"
        )


def seed_range(seed: int, seeds: int) -> range:
    """Return the seeds to repeat a protocol with, from `seed` on."""
    for name, value, least in (("seed", seed, 0), ("seeds", seeds, 1)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name} must be an int; received {value!r}")
        if value < least:
            raise ValueError(
                f"{name} must be {least} or more; received {value}"
            )
    return range(seed, seed + seeds)


def _knn(train, test, settings):
    k = settings["k"]
    accuracies = knn_accuracy(
        *train,
        *test,
        k=[k] if np.ndim(k) == 0 else k,
        temperature=settings["temperature"],
    )
    return {f"knn_accuracy_k{n}": a for n, a in accuracies.items()}


def _linear(train, test, settings):
    def run(seed):
        return chosen(linear_accuracy(*train, *test, seed=seed))

    return over_seeds("linear", run, settings["seeds"])


def _ridge(train, test, settings):
    def run(seed):
        return chosen(ridge_accuracy(*train, *test, seed=seed))

    return over_seeds("ridge", run, settings["seeds"])


def chosen(found: dict[str, float]) -> dict[str, float]:
    """Of what a probe returns, what evaluations report."""
    keys = ("accuracy", "l2", "held_out_accuracy")
    return {key: found[key] for key in keys}


def _retrieval(train, test, settings):
    (gallery, gallery_labels), (features, labels) = train, test
    ranks = check_ranks(
        "recall_at", settings["recall_at"], len(gallery), "training images"
    )
    found = retrieval_metrics(
        features,
        labels,
        ranks,
        gallery=gallery,
        gallery_labels=gallery_labels,
    )
    return {f"retrieval_{key}": value for key, value in found.items()}


#: From the name of a protocol to the function of (train, test, settings).
ON_FEATURES = {
    "knn": _knn,
    "linear": _linear,
    "ridge": _ridge,
    "retrieval": _retrieval,
}
