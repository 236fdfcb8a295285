"""Labelled vectors of tables, in passes."""

import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from minc_tf.diagnostics.vectors import check_features
from minc_tf.evaluation.checks import check_classes, check_labels
from minc_tf.evaluation.embedding.shards import (
    Vectors,
    as_vectors,
    differing_metadata,
)
from minc_tf.evaluation.protocols.subsets import hold_out

# Numbers of a block, of vectors or of outputs for each class.
_BLOCK_ELEMENTS = 2**22

#: What the functions of this package take for vectors.
AnyVectors = Vectors | str | os.PathLike | Sequence[str | os.PathLike]


class Samples:
    """Checked samples, of which one block at a time is in memory.

    They are those `chosen`, or all, of vectors that are labelled and finite.
    """

    def __init__(
        self,
        vectors: Vectors,
        classes: int,
        chosen: np.ndarray | None = None,
    ):
        self._vectors, self._chosen = vectors, chosen
        self.dimension, self.classes = vectors.dimension, classes

    def __len__(self) -> int:
        if self._chosen is None:
            return len(self._vectors)
        return int(np.count_nonzero(self._chosen))

    def blocks(
        self, rows: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pass over the samples: float32 (n, D) and int64 (n,)."""
        if rows is None:
            widest = max(self.dimension, self.classes)
            rows = max(1, _BLOCK_ELEMENTS // widest)
        start = 0
        for x, y, _ in self._vectors.blocks(rows, paths=False):
            if self._chosen is not None:
                chosen = self._chosen[start : start + len(x)]
                start += len(x)
                x, y = x[chosen], y[chosen]
            if len(x):
                yield x, y

    def split(self, part: float, seed: int) -> tuple["Samples", "Samples"]:
        """Hold a part out, the rows that `hold_out` draws in memory.

        This alone takes memory that grows: 2 bytes a sample, 18 to draw.
        """
        kept = np.zeros(len(self), bool)
        kept[hold_out(len(self), part, seed)[0]] = True
        return (
            Samples(self._vectors, self.classes, kept),
            Samples(self._vectors, self.classes, ~kept),
        )

    def accuracy(self, predict: Callable[[np.ndarray], np.ndarray]) -> float:
        """The share of the samples whose label `predict` finds."""
        right = sum(np.count_nonzero(predict(x) == y) for x, y in self.blocks())
        return float(right / len(self))


def check_samples(
    train: AnyVectors | Samples, test: AnyVectors | Samples
) -> tuple[Samples, Samples]:
    """Return samples of two tables, looked through once, or pass them on."""
    if isinstance(train, Samples) and isinstance(test, Samples):
        return train, test
    train, test = as_vectors("train", train), as_vectors("test", test)
    _check_same(train, test)
    # The short one first: what is wrong with it is told sooner.
    _label_range("test", test)
    ends = _label_range("train", train)
    classes = check_classes("labels of train", ends, len(train))
    return Samples(train, classes), Samples(test, classes)


def _check_same(train, test):
    """Refuse two tables whose vectors or labels cannot be compared."""
    if test.dimension != train.dimension:
        raise ValueError(
            f"test must be vectors of dimension {train.dimension}, that of "
            f"train; received {test.dimension} in {test!r}"
        )
    for key, one, two in differing_metadata(train.metadata, test.metadata):
        if None not in (one, two):
            raise ValueError(
                f"test must be of the {key} of train, {one!r}; received {two!r}"
            )


def _label_range(name, vectors):
    """The smallest and the largest label of vectors that are all in order."""
    if not vectors.has_labels:
        raise ValueError(
            f"{name} must be labelled vectors; received {vectors!r}, whose "
            "tables have no column 'label'"
        )
    ends = []
    for x, y, _ in vectors.blocks(paths=False):
        check_features(f"vectors of {name}", x)
        y = check_labels(f"labels of {name}", y, len(x))
        ends += [y.min(), y.max()]
    return np.array([min(ends), max(ends)])
