"""Validation that the evaluation protocols share."""

import itertools
from collections.abc import Sequence

import numpy as np

from minc_tf._checks import check_number
from minc_tf.data.labels import check_class_count
from minc_tf.diagnostics.vectors import check_features


def check_labels(name: str, labels, samples: int) -> np.ndarray:
    """Convert labels, class indices from 0 with none missing, to int64 (N,)."""
    labels = np.asarray(labels)
    if labels.shape != (samples,):
        raise ValueError(
            f"{name} must have shape ({samples},), one a sample; received "
            f"shape {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must be integer class indices; received {labels.dtype}"
        )
    if labels.size and int(labels.max()) >= 2**63:
        raise ValueError(
            f"{name} must be class indices from 0; received {labels.max()}, "
            f"which is beyond int64 (-1 as {labels.dtype}?)"
        )
    missing = np.count_nonzero(labels < 0)
    if missing:
        raise ValueError(
            f"{name} must be class indices from 0; received {missing} "
            f"unlabelled (negative) of {samples} samples; use a labelled split"
        )
    return labels.astype("int64")


def check_several(
    name: str, labels: np.ndarray, samples: int | None = None
) -> None:
    """Refuse labels that are all equal, which may be some of `samples`."""
    if labels.min() == labels.max():
        raise ValueError(
            f"{name} must hold at least two classes; received only class "
            f"{labels[0]} in {samples or len(labels)} samples"
        )


def check_classes(
    name: str, labels: np.ndarray, samples: int | None = None
) -> int:
    """Return the number of classes of checked labels, `max + 1`.

    `labels` may be the smallest and the largest alone, of `samples` samples.
    """
    check_several(name, labels, samples)
    classes = int(labels.max()) + 1
    try:
        check_class_count(classes, samples or len(labels))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return classes


def check_training(
    x, y, prefix: str = ""
) -> tuple[np.ndarray, np.ndarray, int]:
    """Check training samples; return float32 (N, D), int64 (N,), classes."""
    x = check_features(f"{prefix}x", x)
    y = check_labels(f"{prefix}y", y, len(x))
    return x, y, check_classes(f"{prefix}y", y)


def check_test(test_x, test_y, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Check test samples; return float32 (M, D) and int64 (M,)."""
    test_x = check_features("test_x", test_x, dim)
    return test_x, check_labels("test_y", test_y, len(test_x))


def check_ranks(name: str, ranks, most: int, what: str) -> list[int]:
    """Return one or several k, each from 1 to `most`, as a list of int."""
    values = _ints(name, ranks)
    for value in values:
        if not 1 <= value <= most:
            raise ValueError(
                f"{name} must be between 1 and the {most} {what}; received "
                f"{value}"
            )
    return values


def check_dims(dims, most: int | None = None) -> list[int]:
    """Return numbers of coordinates to keep, ascending, at most `most`."""
    values = _ints("dims", dims)
    ascending = all(a < b for a, b in itertools.pairwise(values))
    if values[0] < 1 or not ascending:
        raise ValueError(
            "dims must be positive and ascend, as (8, 16, 32); received "
            f"{values}"
        )
    if most is not None and values[-1] > most:
        raise ValueError(
            f"dims must be at most {most}, the number of coordinates; "
            f"received {values[-1]}"
        )
    return values


def _ints(name, values):
    values = [values] if np.ndim(values) == 0 else list(values)
    if not values:
        raise ValueError(f"{name} must hold at least one int; received none")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(
                f"{name} must be int or a sequence of int; received {value!r}"
            )
    return [int(value) for value in values]


def check_l2(l2: float | Sequence[float]) -> list[float]:
    """Return strengths of a penalty as a list, the strongest first."""
    grid = [l2] if np.ndim(l2) == 0 else list(l2)
    if not grid or not all(0 < s < float("inf") for s in grid):
        raise ValueError(
            f"l2 must be a positive float or several of them; received {l2!r}"
        )
    return sorted((float(s) for s in grid), reverse=True)


def check_held_out(held_out: float) -> float:
    """Return the held-out part, a float in (0, 1)."""
    return check_number("held_out", held_out, 0, 1, ends="()")
