"""Which samples are used: parts of the labels, and what is held out."""

import numpy as np

from minc_tf._checks import check_int, check_number
from minc_tf.evaluation.checks import check_labels


def labelled_fraction(
    labels: np.ndarray, fraction: float, seed: int = 0
) -> np.ndarray:
    """Choose a part of the labelled images, the same part of every class.

    Of a class of n images `round(fraction * n)` are drawn, at least one. With
    one seed, what a smaller fraction chooses a larger one chooses, too.

    Args:
        labels: integer array (N,), class indices from 0.
        fraction: float in (0, 1], such as 0.01 or 0.1.
        seed: int >= 0.

    Returns:
        Sorted int64 array of indices below N.

    Raises:
        TypeError: the labels are not integers.
        ValueError: `fraction` or `seed` is out of range, or labels are missing.

    Example:
    ```python
    labels = minc_tf.data.load("shapes", num_examples=1000).labels
    len(minc_tf.evaluation.labelled_fraction(labels, 0.05))  # 50, 5 a class
    ```

    Source: the semi-supervised protocol of SimCLR, arXiv 2002.05709,
    section 6.
    """
    labels = check_labels("labels", labels, len(labels))
    check_int("seed", seed, 0)
    check_number("fraction", fraction, 0, 1, ends="(]")
    return np.sort(
        np.concatenate(
            [
                rows[: max(1, round(fraction * len(rows)))]
                for rows in _shuffled_classes(labels, seed)
            ]
        )
    )


def hold_out(
    samples: int, part: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split `samples` at random; return sorted indices, kept and held out."""
    held = round(samples * part)
    if not 1 <= held < samples:
        raise ValueError(
            f"held_out={part} must leave samples on both sides to choose by; "
            f"received {samples} training samples; give one setting"
        )
    shuffled = np.random.default_rng(seed).permutation(samples)
    return np.sort(shuffled[held:]), np.sort(shuffled[:held])


def hold_out_of_classes(
    labels: np.ndarray, part: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split each class; return sorted rows, kept and held out.

    A class has some on both sides; its only sample is kept.
    """
    kept, held = [], []
    for rows in _shuffled_classes(labels, seed):
        count = min(max(1, round(part * len(rows))), len(rows) - 1)
        held.append(rows[:count])
        kept.append(rows[count:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held))


def _shuffled_classes(labels, seed):
    """Yield the rows of each class, in random order."""
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        yield np.random.default_rng([seed, label]).permutation(rows)
