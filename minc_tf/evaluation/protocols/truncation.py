"""Embeddings that are cut off after their first coordinates."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np

from minc_tf import diagnostics
from minc_tf.diagnostics import Ordering
from minc_tf.evaluation.checks import check_dims, check_features
from minc_tf.evaluation.protocols.float32 import eigh, matmul
from minc_tf.evaluation.protocols.on_features import evaluate_features

#: Directions with less than this share of the largest variance are rounding.
_SMALLEST_VARIANCE = 1e-10

# Rows that are float64 at once.
_ROWS = 8192

#: Okabe & Ito's colours, which colour-blind readers tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_GREYS = ("0.2", "0.5", "0.7")
_MARKERS = "osD^vP"

#: What can put the coordinates of a SavedModel's output in order.
ORDERS = ("auto", "embedding", "pairs", "pca")


def pca(features: np.ndarray, dim: int | None = None) -> Ordering:
    """Order features by variance: the baseline of orders that views give.

    Args:
        features: float array (N, D), of the training split.
        dim: int, how many components to keep; `None` for all that vary.

    Returns:
        A `minc_tf.diagnostics.Ordering` whose coordinates are the principal
        components, and whose `eigenvalues` are their variances.

    Raises:
        ValueError: features that are not finite or do not vary, or `dim` out
            of range.

    Example:
    ```python
    x = np.random.default_rng(0).normal(size=(500, 8))
    minc_tf.evaluation.pca(x)(x, dim=3).shape  # (500, 3)
    ```

    Source: Bishop, Pattern Recognition and Machine Learning, section 12.1.
    """
    x = check_features("features", features)
    mean = x.mean(0, dtype="float64")
    covariance = np.zeros((len(mean), len(mean)))
    for start in range(0, len(x), _ROWS):
        centred = x[start : start + _ROWS] - mean
        covariance += matmul(centred, centred, transpose_a=True)
    variances, axes = eigh(covariance / len(x))
    variances, axes = variances[::-1], axes[:, ::-1]
    smallest = max(_SMALLEST_VARIANCE * variances[0], 1e-30)
    rank = int(np.count_nonzero(variances > smallest))
    if not rank:
        raise ValueError(
            f"features must vary, received the same {len(mean)} values in "
            f"{len(x)} samples"
        )
    if dim is not None and not 1 <= dim <= rank:
        raise ValueError(
            f"dim must be between 1 and {rank}, the components that vary, "
            f"received {dim}"
        )
    variances, axes = variances[:rank][:dim], axes[:, :rank][:, :dim]
    return Ordering(mean, axes / np.sqrt(variances), variances)


def evaluate_dims(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    dims: Sequence[int],
    *,
    protocols: Sequence[str] = ("knn", "retrieval"),
    k: int | Sequence[int] = 20,
    ordering: Ordering | None = None,
    **settings,
) -> list[dict]:
    """Evaluate the first coordinates of an ordered embedding.

    Args:
        train: features, float32 (N, D), and labels, int64 (N,), of the
            training split.
        test: the same of the test split.
        dims: ascending sequence of int, how many coordinates.
        protocols: see `evaluate_features`.
        k: number of neighbours, or several.
        ordering: a `minc_tf.diagnostics.Ordering`, such as
            `minc_tf.diagnostics.order` or `pca` make it, to apply to the
            features; `None` for features that are in order already.
        **settings: further ones of `evaluate_features`.

    Returns:
        List of dicts, a row for each of `dims`: `dim`, and what
        `evaluate_features` returns.

    Raises:
        TypeError: `dims` are not integers.
        ValueError: `dims` that do not ascend or are more than there are, or as
            `evaluate_features`.

    Example:
    ```python
    ordering = minc_tf.evaluation.pca(train[0])
    rows = minc_tf.evaluation.evaluate_dims(
        train, test, (8, 16, 32), ordering=ordering
    )
    minc_tf.evaluation.plot_dims({"PCA": rows}, "dims.png")
    ```
    """
    splits = [(check_features("features", x), y) for x, y in (train, test)]
    dims = check_dims(dims, _coordinates(ordering, splits[0][0]))
    if ordering is not None:
        splits = [(ordering(x, dims[-1]), y) for x, y in splits]
    rows = []
    for dim in dims:
        train, test = ((x[:, :dim], y) for x, y in splits)
        found = evaluate_features(
            train, test, protocols=protocols, k=k, **settings
        )
        rows.append({"dim": dim, **found})
    return rows


def resolve_order(order: str, output: str, manifest: dict | None) -> str:
    """Decide what puts the coordinates of a SavedModel's output in order.

    Args:
        order: str, one of `ORDERS`.
        output: str, the signature that is evaluated.
        manifest: dict of the SavedModel, or `None`.

    Returns:
        `"embedding"`, `"pairs"` or `"pca"`: `"auto"` is the first where the
        output is an embedding that the manifest calls ordered, else the
        second.

    Raises:
        ValueError: an unknown order, or `"embedding"` where it has none.

    Example:
    ```python
    resolve_order("auto", "features", None)  # "pairs"
    ```
    """
    if order not in ORDERS:
        raise ValueError(
            f"order must be one of {', '.join(ORDERS)}, received {order!r}"
        )
    ordered = (manifest or {}).get("embedding_ordered", False)
    ordered = ordered and output == "embedding"
    if order == "embedding" and not ordered:
        raise ValueError(
            "order='embedding' needs output='embedding' of a SavedModel whose "
            f"manifest calls it ordered, received output={output!r}; use "
            "'pairs' or 'pca'"
        )
    if order != "auto":
        return order
    return "embedding" if ordered else "pairs"


def truncation_curves(
    encode: Callable,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    dims: Sequence[int],
    *,
    order: str,
    pairs: Iterable | None = None,
    verbose: int = 0,
    **settings,
) -> dict[str, list[dict]]:
    """Evaluate the first coordinates in an order, and in that of PCA.

    Args:
        encode: function from a batch of views to features (B, D), only needed
            for the order of pairs.
        train: features, float32 (N, D), and labels, int64 (N,), of the
            training split.
        test: the same of the test split.
        dims: ascending sequence of int, how many coordinates.
        order: `"embedding"`, the features are in order; `"pairs"`,
            `minc_tf.diagnostics.order` on `pairs`; or `"pca"`.
        pairs: finite iterable of `(view1, view2)`, batches of the two views
            of training images.
        verbose: int, 1 shows a bar of the batches of pairs.
        **settings: those of `evaluate_dims`.

    Returns:
        Dict from the order, and from `"pca"`, to the rows of `evaluate_dims`.

    Raises:
        TypeError: `dims` are not integers.
        ValueError: as `evaluate_dims`, `pca` and `minc_tf.diagnostics.order`.

    Example:
    ```python
    curves = truncation_curves(None, train, test, (8, 16), order="pca")
    curves["pca"][0]["dim"]  # 8
    ```
    """
    orderings = {"pca": pca(train[0])}
    if order == "pairs":
        ordering = diagnostics.order(encode, _shown(pairs, verbose))
        orderings = {"pairs": ordering, **orderings}
    elif order == "embedding":
        orderings = {"embedding": None, **orderings}
    for ordering in orderings.values():
        check_dims(dims, _coordinates(ordering, train[0]))
    return {
        name: evaluate_dims(train, test, dims, ordering=ordering, **settings)
        for name, ordering in orderings.items()
    }


def plot_dims(
    curves: dict[str, list[dict]],
    path: str | os.PathLike,
    *,
    metrics: Sequence[str] | None = None,
) -> None:
    """Plot accuracy and recall against the number of coordinates.

    Args:
        curves: from a name for the legend to rows of `evaluate_dims`. Names
            that start with "PCA", the baseline, are drawn in grey.
        path: path of the picture; its suffix is the format, such as `.png`,
            `.pdf` or `.svg`.
        metrics: keys of the rows, a panel each; `None` for the first accuracy
            and the first recall that there are.

    Raises:
        ValueError: no curves, or none that has the metrics.

    Example:
    ```python
    rows = [{"dim": 8, "knn_accuracy_k20": 0.5}]
    plot_dims({"MINC": rows}, "dims.png")
    ```
    """
    from matplotlib.figure import Figure

    keys = _panels(curves, metrics)
    columns = min(len(curves), len(keys) + 1)
    size = (4.2 * len(keys), 3.2 + 0.22 * -(-len(curves) // columns))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(keys), squeeze=False)[0]
    for panel, key in zip(panels, keys, strict=True):
        _draw(panel, curves, key)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
    )
    figure.savefig(path, dpi=200)


def _shown(pairs, verbose) -> Iterator:
    """The batches themselves, counted by a bar."""
    count = len(pairs) if hasattr(pairs, "__len__") else None
    bar = keras.utils.Progbar(count, verbose=verbose, unit_name="batch")
    for pair in pairs:
        yield pair
        bar.add(1)


def _coordinates(ordering, features) -> int:
    return features.shape[1] if ordering is None else len(ordering.eigenvalues)


def _panels(curves, metrics) -> list[str]:
    keys = list(
        dict.fromkeys(
            key for rows in curves.values() for row in rows for key in row
        )
    )
    if metrics is None:
        accuracy = [k for k in keys if re.search(r"accuracy(_k\d+)?$", k)]
        measured = [k for k in accuracy if "held_out" not in k]
        recall = [k for k in keys if "recall_at" in k]
        metrics = measured[:1] + recall[:1]
    unknown = [key for key in metrics if key not in keys]
    if unknown or not metrics:
        raise ValueError(
            "curves must have rows with the metrics to plot, received "
            f"metrics={list(metrics)} and rows with {', '.join(keys) or 'none'}"
        )
    return list(metrics)


def _looks(names) -> dict[str, dict]:
    """Colour, line and marker of each curve."""
    looks, counts = {}, {True: 0, False: 0}
    for name in names:
        baseline = name.startswith("PCA")
        colours = _GREYS if baseline else _COLOURS
        index = counts[baseline]
        counts[baseline] += 1
        looks[name] = {
            "color": colours[index % len(colours)],
            "marker": _MARKERS[index % len(_MARKERS)],
            "linestyle": "--" if baseline else "-",
        }
    return looks


def _draw(panel, curves, key):
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    looks = _looks(curves)
    ticks = set()
    for name, rows in curves.items():
        rows = [row for row in rows if key in row]
        dims = np.array([row["dim"] for row in rows])
        mean = 100 * np.array([row[key] for row in rows])
        half = 100 * np.array([row.get(f"{key}_ci95", 0.0) for row in rows])
        panel.plot(
            dims, mean, label=name, markersize=4.5, linewidth=1.6, **looks[name]
        )
        if half.any():
            panel.fill_between(
                dims,
                mean - half,
                mean + half,
                color=looks[name]["color"],
                alpha=0.2,
                linewidth=0,
            )
        ticks.update(dims)
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_locator(FixedLocator(sorted(ticks)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(ScalarFormatter())
    panel.set_xlabel("coordinates kept")
    panel.set_ylabel(f"{_label(key)}, %")
    panel.grid(color="0.9", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _label(key: str) -> str:
    """The name of a metric for a reader."""
    text = re.sub(r"_k(\d+)$", r", k = \1", key)
    text = re.sub(r"^retrieval_recall_at_(\d+)$", r"recall@\1", text)
    text = text.replace("retrieval_map", "mAP").replace("knn", "kNN")
    return text.replace("_", " ")
