"""Evaluate an exported encoder: what is measured is what is deployed."""

import functools
import os
from collections.abc import Iterable, Sequence

import tensorflow as tf

from minc_tf._checks import check_choice
from minc_tf.data import ImageSource, eval_batches
from minc_tf.evaluation.checks import (
    check_classes,
    check_dims,
    check_labels,
    check_ranks,
)
from minc_tf.evaluation.features import extract
from minc_tf.evaluation.protocols.finetuning import check_even, finetune
from minc_tf.evaluation.protocols.knn import check_k
from minc_tf.evaluation.protocols.labelled_images import check_splits
from minc_tf.evaluation.protocols.on_features import (
    ON_FEATURES,
    check_protocols,
    evaluate_features,
    seed_range,
)
from minc_tf.evaluation.protocols.seeds import over_seeds
from minc_tf.evaluation.protocols.sgd_probe import linear_sgd
from minc_tf.evaluation.protocols.transfer import transfer_accuracy
from minc_tf.evaluation.protocols.truncation import (
    resolve_order,
    truncation_curves,
)
from minc_tf.export import SavedEncoder, load_savedmodel

#: Every protocol of `evaluate_savedmodel`.
PROTOCOLS = (*ON_FEATURES, "semi", "finetune", "transfer")

#: How the linear probe can be fitted.
SOLVERS = ("lbfgs", "sgd", "lars")

#: Further arguments of the protocols that train on images.
FITTING = ("epochs", "batch_size", "learning_rates", "held_out", "augment")

_BATCH_SIZE = 256


def evaluate_savedmodel(
    path: str | os.PathLike | SavedEncoder,
    train: ImageSource | tf.data.Dataset | None = None,
    test: ImageSource | tf.data.Dataset | None = None,
    *,
    protocols: Sequence[str] = ("knn", "linear"),
    output: str = "features",
    k: int | Sequence[int] = (20, 200),
    temperature: float = 0.07,
    recall_at: int | Sequence[int] = (1, 5, 10),
    solver: str = "lbfgs",
    fractions: Sequence[float] = (0.01, 0.1),
    fitting: dict | None = None,
    transfer: tuple | None = None,
    dims: Sequence[int] | None = None,
    order: str = "auto",
    pairs: Iterable | None = None,
    seed: int = 0,
    seeds: int = 1,
    verbose: int = 0,
) -> dict:
    """Evaluate a SavedModel by the protocols of the papers.

    For protocols on cached features each image passes through the SavedModel
    once. Settings are chosen on a held-out part of the training split; the
    test split is read for the final numbers alone.

    - `"knn"`: weighted nearest neighbours (`knn_accuracy`).
    - `"linear"`: logistic regression on cached features (`linear_accuracy`),
      or by `solver` on augmented images (`linear_sgd`).
    - `"ridge"`: least squares in closed form (`ridge_accuracy`).
    - `"retrieval"`: test images search the training images
      (`retrieval_metrics`).
    - `"semi"`: fine-tuning on a part of the labels (`finetune`).
    - `"finetune"`: fine-tuning on all labels (`finetune`).
    - `"transfer"`: linear probe and kNN on another data set
      (`transfer_accuracy`).

    Args:
        path: a version folder, or the folder of versions (the latest), or a
            `SavedEncoder`.
        train: `ImageSource` of labelled images in the model's size; protocols
            that do not train on images also take a finite `tf.data.Dataset` of
            dicts `image`: (b, H, W, 3), pixel values 0..255, and `label`:
            int64 (b,). `"transfer"` alone needs none.
        test: the same of the test split.
        protocols: names out of the above.
        output: signature to evaluate. Of an `"embedding"` that is ordered, the
            first coordinate, the constant function, is left out. Fine-tuning
            is always that of the encoder.
        k: number of neighbours, or several.
        temperature: positive float, of the kNN votes.
        recall_at: the k of recall@k, or several.
        solver: of `"linear"`: `"lbfgs"`, `"sgd"` or `"lars"`.
        fractions: floats in (0, 1], parts of the labels for `"semi"`.
        fitting: dict of further arguments of `linear_sgd` and `finetune`:
            `epochs`, `batch_size`, `learning_rates`, `held_out`, `augment`.
        transfer: `(train, test)` of the other data set, as `train` and `test`.
        dims: ascending ints: also evaluate the first coordinates, this many,
            by those of the protocols that use cached features.
        order: what puts the coordinates in order: `"embedding"`, the model
            itself (MINC's); `"pairs"`, `minc_tf.diagnostics.order` on `pairs`;
            `"pca"`, variance; `"auto"`: the model, where `output` is an
            embedding that its manifest calls ordered, else pairs.
        pairs: finite iterable of `(view1, view2)`, batches of the two views
            of training images.
        seed: int, the first of the seeds.
        seeds: int, how many seeds to repeat with what has randomness: held-out
            parts, subsets of labels, starts, orders, augmentation.
        verbose: int, 1 shows progress bars.

    Returns:
        Dict of floats; accuracies, recall and mAP are in [0, 1]. For `knn` and
        `transfer` one `[transfer_]knn_accuracy_k<k>` for each k; for
        `retrieval` `retrieval_recall_at_<k>` and `retrieval_map`; otherwise
        `<name>_accuracy` and what was chosen, `<name>_l2` or
        `<name>_learning_rate`, with its `<name>_held_out_accuracy`. The name
        is that of the protocol, but `linear_sgd` or `linear_lars` by these
        solvers, `semi_<fraction>` and `transfer_linear` (which also has
        `class_accuracy`, the mean over the classes). From two seeds on
        accuracies are means, with `<name>_accuracy_ci95`, the half-width of
        the 95 % interval (`over_seeds`), and what was chosen is the list of
        every seed's. With `dims` there is `dims`: a dict from the order, and
        `"pca"`, to the rows of `evaluate_dims`.

    Raises:
        FileNotFoundError: there is no SavedModel at `path`.
        TypeError: data of a wrong kind.
        ValueError: an unknown protocol or signature, or data that do not fit.

    Example:
    ```python
    train = minc_tf.data.load("shapes", "train")
    test = minc_tf.data.load("shapes", "test")
    minc_tf.evaluation.evaluate_savedmodel("savedmodels/shapes", train, test)
    ```

    Source: arXiv 1805.01978 (kNN), 1805.08974 (linear probe, transfer),
    2002.05709 (fine-tuning, semi-supervised), 2011.10566 (SGD and LARS).
    """
    check_protocols(protocols, PROTOCOLS)
    check_choice("solver", solver, SOLVERS)
    used_seeds = seed_range(seed, seeds)
    cached = [name for name in protocols if is_cached(name, solver)]
    encoder = load_savedmodel(path)
    encode = encoder.encoder_function(output)
    if dims is not None:
        check_dims(dims, encoder.encoder_dim(output))
        order = resolve_order(order, output, encoder.manifest)
        _check_truncation(cached, order, pairs)

    runs = _training_runs(protocols, solver, fractions)
    _check_fitting(fitting or {}, runs)
    probes = "linear" in protocols and "linear" not in cached
    if {"semi", "finetune"} & set(protocols):
        encoder.trainable()
        check_even("batch_size", (fitting or {}).get("batch_size", 256))
    if runs:
        check_splits(train, test, encoder.image_shape(output))
    if cached or probes:
        batches = _labelled_batches(train, test, k if "knn" in cached else 1)
        if "retrieval" in cached and isinstance(train, ImageSource):
            check_ranks("recall_at", recall_at, len(train), "training images")
    if "transfer" in protocols:
        others = _labelled_batches(*(transfer or (None, None)), k, "transfer ")

    neighbours = {"k": k, "temperature": temperature}
    results = {}
    if cached or probes:  # once, for all protocols and seeds
        splits = [extract(encode, b, verbose=verbose) for b in batches]
    if cached:
        settings = {
            **neighbours,
            "protocols": cached,
            "recall_at": recall_at,
            "seed": seed,
            "seeds": seeds,
        }
        if dims is not None:
            given = {"order": order, "pairs": pairs, "verbose": verbose}
            results["dims"] = truncation_curves(
                encode, *splits, dims, **given, **settings
            )
        results |= evaluate_features(*splits, **settings)
    if "transfer" in protocols:
        pair = [extract(encode, b, verbose=verbose) for b in others]
        found = transfer_accuracy(*pair, seeds=used_seeds, **neighbours)
        results |= {f"transfer_{key}": value for key, value in found.items()}
    shared = {"verbose": verbose, **(fitting or {})}
    for name, run in runs.items():
        if run is linear_sgd:
            features = tuple(x for x, _ in splits)
            run = functools.partial(
                run, output=output, optimizer=solver, features=features
            )
        run = functools.partial(run, encoder, train, test, **shared)
        results |= over_seeds(name, run, used_seeds)
    return results


def is_cached(protocol: str, solver: str = "lbfgs") -> bool:
    """Whether a protocol uses features that are computed once."""
    return protocol in ON_FEATURES and (protocol, solver) not in (
        ("linear", "sgd"),
        ("linear", "lars"),
    )


def _check_truncation(cached, order, pairs):
    if not cached:
        raise ValueError(
            "dims must come with a protocol on cached features: "
            f"{', '.join(ON_FEATURES)} (with solver='lbfgs'); received none"
        )
    if order == "pairs" and pairs is None:
        raise ValueError(
            "pairs must be batches of (view1, view2) for order='pairs'; "
            "received None"
        )


def _check_fitting(fitting, runs):
    unknown = [name for name in fitting if name not in FITTING]
    if unknown or (fitting and not runs):
        raise ValueError(
            f"fitting must hold {', '.join(FITTING)}, for protocols that train "
            f"on images; received {fitting!r} for "
            f"{', '.join(runs) or 'none of them'}"
        )


def _labelled_batches(train, test, k, prefix="") -> list[tf.data.Dataset]:
    """Two splits as batches; what is known of them now is checked now."""
    batches = []
    for name, split in (("train", train), ("test", test)):
        if isinstance(split, ImageSource):
            label = f"labels of {prefix}{name}"
            labels = check_labels(label, split.labels, len(split))
            if name == "train":
                check_classes(label, labels)
                check_k(k, len(split))
            split = eval_batches(split, _BATCH_SIZE)
        if not isinstance(split, tf.data.Dataset):
            raise TypeError(
                f"{prefix}{name} must be a minc_tf.data.ImageSource or a "
                f"tf.data.Dataset; received {type(split).__name__}"
            )
        batches.append(split)
    return batches


def _training_runs(protocols, solver, fractions) -> dict:
    """What trains on images: from the name in the results to the function."""
    runs = {}
    for name in protocols:
        if name == "linear" and not is_cached(name, solver):
            runs[f"linear_{solver}"] = linear_sgd
        elif name == "finetune":
            runs[name] = finetune
        elif name == "semi":
            for fraction in fractions:
                runs[f"semi_{fraction:g}"] = functools.partial(
                    finetune, fraction=fraction
                )
    return runs
