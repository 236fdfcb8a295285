"""Protocols on the vectors of tables."""

from collections.abc import Sequence

import numpy as np

from minc_tf.evaluation.embedding.shards import as_vectors
from minc_tf.evaluation.protocols.knn import check_k, check_temperature
from minc_tf.evaluation.protocols.on_features import (
    check_protocols,
    chosen,
    seed_range,
)
from minc_tf.evaluation.protocols.seeds import over_seeds
from minc_tf.evaluation.streaming.knn import stream_knn
from minc_tf.evaluation.streaming.linear import stream_linear
from minc_tf.evaluation.streaming.ridge import stream_ridge
from minc_tf.evaluation.streaming.samples import AnyVectors, check_samples


def evaluate_vectors(
    train: AnyVectors,
    test: AnyVectors,
    *,
    protocols: Sequence[str] = ("knn", "linear"),
    k: int | Sequence[int] = (20, 200),
    temperature: float = 0.07,
    seed: int = 0,
    seeds: int = 1,
) -> dict:
    """`evaluate_features` of vectors in tables, a block in memory at a time.

    For vectors that `minc-embed` wrote, however many there are: the results
    are those of the same vectors in memory, but for rounding.

    Args:
        train: vectors of the training split, with labels, as `Vectors` or the
            path, paths or glob of what it reads.
        test: the same of the test split.
        protocols: names out of `"knn"`, `"linear"` and `"ridge"`.
        k: number of neighbours of `knn`, or several.
        temperature: positive float, of the kNN votes.
        seed: int, of the held-out part that chooses a penalty.
        seeds: int, how many held-out parts to draw, by the seeds from `seed`
            on.

    Returns:
        Dict, see `evaluate_savedmodel`.

    Raises:
        FileNotFoundError: there is no such table.
        TypeError: `k` or `seeds` are not integers.
        ValueError: an unknown protocol, labels that are missing, or tables
            that are damaged or do not fit together.

    Example:
    ```python
    for split in ("train", "test"):
        images = minc_tf.data.load("shapes", split, num_examples=300)
        minc_tf.evaluation.embed_images(
            "savedmodels/shapes", images, f"{split}.parquet"
        )
    minc_tf.evaluation.evaluate_vectors("train.parquet", "test.parquet")
    ```
    """
    check_protocols(protocols, ON_VECTORS)
    settings = {
        "k": [k] if np.ndim(k) == 0 else k,
        "temperature": temperature,
        "seeds": seed_range(seed, seeds),
    }
    train = as_vectors("train", train)
    if "knn" in protocols:
        check_k(k, len(train))
        check_temperature(temperature)
    train, test = check_samples(train, test)
    results = {}
    for name in protocols:
        results.update(ON_VECTORS[name](train, test, settings))
    return results


def _knn(train, test, settings):
    accuracies = stream_knn(
        train, test, k=settings["k"], temperature=settings["temperature"]
    )
    return {f"knn_accuracy_k{n}": a for n, a in accuracies.items()}


def _linear(train, test, settings):
    def run(seed):
        return chosen(stream_linear(train, test, seed=seed))

    return over_seeds("linear", run, settings["seeds"])


def _ridge(train, test, settings):
    def run(seed):
        return chosen(stream_ridge(train, test, seed=seed))

    return over_seeds("ridge", run, settings["seeds"])


#: From the name of a protocol to the function of (train, test, settings).
ON_VECTORS = {"knn": _knn, "linear": _linear, "ridge": _ridge}
