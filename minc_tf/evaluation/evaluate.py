"""Evaluate an exported encoder: what is measured is what is deployed."""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from minc_tf.evaluation.features import extract, load_savedmodel
from minc_tf.evaluation.knn import knn_accuracy
from minc_tf.evaluation.linear import linear_accuracy
from minc_tf.evaluation.ridge import ridge_accuracy


def evaluate_savedmodel(
    path: str | os.PathLike,
    train_batches: tf.data.Dataset,
    test_batches: tf.data.Dataset,
    *,
    protocols: Sequence[str] = ("knn", "linear"),
    output: str = "features",
    k: int | Sequence[int] = (20, 200),
    temperature: float = 0.07,
    seed: int = 0,
    verbose: int = 0,
) -> dict[str, float]:
    """Evaluate a SavedModel by protocols on frozen features.

    Each image passes through the SavedModel once; settings are chosen on the
    training split.

    Args:
        path: a version folder, or the folder of versions (the latest).
        train_batches: finite `tf.data.Dataset` of dicts `image`: (b, H, W, 3),
            pixel values 0..255, and `label`: int64 (b,).
        test_batches: the same for the test split.
        protocols: names out of `"knn"`, `"linear"` and `"ridge"`.
        output: signature to evaluate. Of an `"embedding"` that is ordered, the
            first coordinate, the constant function, is left out.
        k: number of neighbours, or several.
        temperature: positive float, of the kNN votes.
        seed: int, of the held-out part that chooses the linear probe's penalty.
        verbose: int, 1 shows progress bars.

    Returns:
        Dict of floats: for `knn` one `knn_accuracy_k<k>` for each k; for
        `linear` and `ridge` `<name>_accuracy`, `<name>_l2` and
        `<name>_held_out_accuracy`. Accuracies are in [0, 1].

    Raises:
        FileNotFoundError: there is no SavedModel at `path`.
        ValueError: an unknown protocol or signature, or data that do not fit.

    Example:
    ```python
    train = minc_tf.data.load("shapes", split="train").examples(256)
    test = minc_tf.data.load("shapes", split="test").examples(256)
    minc_tf.evaluation.evaluate_savedmodel("savedmodels/shapes", train, test)
    ```

    Source: arXiv 1805.01978 (kNN), arXiv 1805.08974 (linear probe).
    """
    _check_protocols(protocols)
    encoder = load_savedmodel(path)
    train = extract(encoder, train_batches, output, verbose=verbose)
    test = extract(encoder, test_batches, output, verbose=verbose)
    manifest = encoder.manifest or {}
    if output == "embedding" and manifest.get("embedding_ordered"):
        train, test = ((x[:, 1:], y) for x, y in (train, test))
    return evaluate_features(
        train,
        test,
        protocols=protocols,
        k=k,
        temperature=temperature,
        seed=seed,
    )


def evaluate_features(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    *,
    protocols: Sequence[str] = ("knn", "linear"),
    k: int | Sequence[int] = (20, 200),
    temperature: float = 0.07,
    seed: int = 0,
) -> dict[str, float]:
    """Evaluate features that are there already, as `evaluate_savedmodel`.

    Args:
        train: features, float32 (N, D), and labels, int64 (N,), of the
            training split.
        test: the same of the test split.
        protocols: see `evaluate_savedmodel`.
        k: see `evaluate_savedmodel`.
        temperature: see `evaluate_savedmodel`.
        seed: see `evaluate_savedmodel`.

    Returns:
        Dict of floats, see `evaluate_savedmodel`.

    Raises:
        ValueError: an unknown protocol, or data that do not fit.

    Example:
    ```python
    train = minc_tf.data.load("shapes", split="train").examples(256)
    test = minc_tf.data.load("shapes", split="test").examples(256)
    train, test = map(minc_tf.evaluation.raw_pixels, (train, test))
    minc_tf.evaluation.evaluate_features(train, test, protocols=["knn"])
    ```
    """
    _check_protocols(protocols)
    settings = {"k": k, "temperature": temperature, "seed": seed}
    results = {}
    for name in protocols:
        results.update(_PROTOCOLS[name](*train, *test, settings))
    return results


def _check_protocols(protocols):
    unknown = [name for name in protocols if name not in _PROTOCOLS]
    if unknown or not protocols or isinstance(protocols, str):
        raise ValueError(
            f"protocols must be a sequence out of {', '.join(_PROTOCOLS)}, "
            f"received {protocols!r}"
        )


def _knn(train_x, train_y, test_x, test_y, settings):
    k = settings["k"]
    accuracies = knn_accuracy(
        train_x,
        train_y,
        test_x,
        test_y,
        k=[k] if np.ndim(k) == 0 else k,
        temperature=settings["temperature"],
    )
    return {f"knn_accuracy_k{n}": a for n, a in accuracies.items()}


def _linear(train_x, train_y, test_x, test_y, settings):
    found = linear_accuracy(
        train_x, train_y, test_x, test_y, seed=settings["seed"]
    )
    return _prefixed("linear", found)


def _ridge(train_x, train_y, test_x, test_y, settings):
    found = ridge_accuracy(
        train_x, train_y, test_x, test_y, seed=settings["seed"]
    )
    return _prefixed("ridge", found)


def _prefixed(name, found):
    keys = ("accuracy", "l2", "held_out_accuracy")
    return {f"{name}_{key}": found[key] for key in keys}


_PROTOCOLS = {"knn": _knn, "linear": _linear, "ridge": _ridge}
