"""Labels: the checks that those of every source pass; NumPy alone.

A label's value sizes what is made for its class, from a name to the weights
of a classifier, so that a single wrong one could take all memory.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

#: As many classes a data set may have, however few its images are.
FREE_CLASSES = 10_000

_LIKE_LABELS = re.compile(
    r"(class|category|target)?_?(labels?|ids?|index|idx)|y|ys|targets?|"
    r"class(es)?|categor(y|ies)|lbls?|gt|ground_truth|annotations?"
)
# Of the images, not of their classes.
_NUMBERS = ("id", "ids", "index", "idx")
_AFFIX = re.compile(
    r"^(image/|(x?train|training|test|val|valid|validation)_)|"
    r"_(train|training|test|val|valid|validation)$"
)


def as_labels(
    labels,
    num_examples: int,
    class_names: Sequence[str] | None = None,
    *,
    num_images: int | None = None,
) -> np.ndarray | None:
    """Check labels (N,) or (N, 1); returns int64 (N,), -1 where unknown.

    Without `class_names` the largest label tells the number of classes.
    `num_images` is that of the data set of which these are a part.
    """
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" and labels.shape != (0,):
        raise TypeError(
            f"labels must be integers; received dtype {labels.dtype}"
            f"{_advice(labels)}"
        )
    # Keras's own CIFAR files keep labels as a column.
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (num_examples,):
        one_hot = labels.ndim == 2 and len(labels) == num_examples
        hint = "; pass labels.argmax(1) of one-hot labels" if one_hot else ""
        raise ValueError(
            f"labels must have shape ({num_examples},), one an image; "
            f"received {labels.shape}{hint}"
        )
    if labels.size:
        # Python's integers: those of arrays would overflow.
        low, high = int(labels.min()), int(labels.max())
        _check_range(labels, low, high, class_names)
        if class_names is None:
            check_class_count(high + 1, num_images or num_examples)
    return labels.astype(np.int64)


def check_class_count(count: int, num_images: int) -> None:
    """Refuse more classes than images, and than 10,000, before any is made."""
    most = max(FREE_CLASSES, num_images)
    if count > most:
        raise ValueError(
            f"labels must be at most {most - 1} for {num_images} images; "
            f"received {count - 1}: renumber them from 0 without large gaps, "
            "as np.unique(labels, return_inverse=True)[1] does, or give "
            "class_names"
        )


def like_labels(names: Iterable[str]) -> str | None:
    """Return the first of some names that seems to mean labels, or `None`."""
    for name in names:
        bare = re.sub(r"[-. ]", "_", name.strip().lower())
        bare = _AFFIX.sub("", _AFFIX.sub("", bare))
        if _LIKE_LABELS.fullmatch(bare) and bare not in _NUMBERS:
            return name
    return None


def _check_range(labels, low, high, class_names):
    top = np.inf if class_names is None else len(class_names) - 1
    if low >= -1 and high <= top and high < 2**63:
        return
    hint = ""
    kind = labels.dtype
    if kind.kind == "u" and high == np.iinfo(kind).max:
        hint = f"; {high} is -1 as {kind}: pass labels.astype('int64')"
    elif kind.itemsize == 1 and low < -1:
        hint = f"; {kind} ends at 127: keep larger labels as int64"
    raise ValueError(
        "labels must lie in 0 to num_classes - 1 (-1: unknown)"
        f"{'' if top == np.inf else f' = {top}'}; received values from "
        f"{low} to {high}{hint}"
    )


def _advice(labels):
    """Say what to do with labels of another dtype, by their values."""
    if labels.dtype.kind == "b":
        return ": pass labels.astype('int64')"
    if labels.dtype.kind == "f":
        if np.isnan(labels).any():
            return " with NaN: put -1 where a label is unknown, as int64"
        if np.all(labels == np.round(labels)):
            return ": pass labels.astype('int64')"
        return " that are no whole numbers"
    if labels.dtype.kind in "USO":
        return ": number them, np.unique(labels, return_inverse=True)[1]"
    return ""
