"""Slices of splits, `train[:90%]`, for data that have no split of their own."""

import re

import numpy as np

from minc_tf._checks import refusal
from minc_tf.data.subsets import permutation

_BOUND = r"-?\d+(?:\.\d+)?%?"
_SLICE = re.compile(rf"(?P<name>[^\[\]]+)\[(?P<a>{_BOUND})?:(?P<b>{_BOUND})?\]")


def parse_slice(split: str) -> tuple[str, tuple | None]:
    """Returns the name of a split and the bounds of its slice, if any.

    Those of `"train[a:b]"` are str or None, as in TensorFlow Datasets: `-10%`.
    """
    if "[" not in split and "]" not in split:
        return split, None
    found = _SLICE.fullmatch(split)
    if found is None:
        raise refusal("split", "a name, or a slice as in 'train[:90%]'", split)
    return found["name"], (found["a"], found["b"])


def rows_of_slice(source, split: str, bounds: tuple) -> np.ndarray:
    """Returns the rows of the images in a slice of a source, ascending.

    Each slice has its share of each class, and those that do not overlap have
    no image in common. Unlabelled images are in a random order.
    """
    count = len(source)
    labels = source.labels if source.class_names else np.zeros(count, np.int64)
    start, stop = (
        _row(bound, count, default)
        for bound, default in zip(bounds, (0, count), strict=True)
    )
    rows = np.sort(stratified_order(labels)[start:stop])
    if not len(rows):
        raise refusal(
            "split", f"a slice with images of the {count} that there are", split
        )
    return rows


def stratified_order(labels: np.ndarray) -> np.ndarray:
    """A fixed permutation of which each part has its share of each class."""
    order = permutation(len(labels), 0)
    shuffled = np.asarray(labels)[order]
    place = np.empty(len(order))
    for label in np.unique(shuffled):
        rows = np.flatnonzero(shuffled == label)
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return order[np.argsort(place, kind="stable")]


def _row(bound, count, default):
    """The row that a bound of a slice means, in 0 to count."""
    if bound is None:
        return default
    value = float(bound.rstrip("%"))
    if bound.endswith("%"):
        value = round(value * count / 100.0)
    row = int(value) + (count if value < 0 else 0)
    return min(max(row, 0), count)
