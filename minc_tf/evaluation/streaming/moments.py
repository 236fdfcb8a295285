"""First and second moments of labelled samples, added up block by block."""

from collections.abc import Iterable

import numpy as np

from minc_tf.evaluation.protocols.float32 import matmul
from minc_tf.evaluation.protocols.standardize import Standardizer


class Moments:
    """What least squares and standardisation need of samples.

    Within a block products are float32, of vectors without the block's mean;
    sums are float64: a mean far from 0 and a long sum cost no digits. Source:
    Chan, Golub & LeVeque, The American Statistician 37, 1983, eq. 2.1.
    """

    def __init__(self, dimension: int, classes: int):
        self.count = 0
        self.mean = np.zeros(dimension)
        self.scatter = np.zeros((dimension, dimension))
        self.class_counts = np.zeros(classes, "int64")
        self.class_sums = np.zeros((classes, dimension))

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Add a block of samples, float32 (n, D), of labels, int64 (n,)."""
        counts = np.bincount(y, minlength=len(self.class_counts))
        mean = x.mean(0, dtype="float64")
        deviations = x - mean.astype(x.dtype)
        there = np.flatnonzero(counts)
        starts = np.cumsum(counts)[there] - counts[there]
        by_class = x[np.argsort(y, kind="stable")]
        self.class_sums[there] += np.add.reduceat(
            by_class, starts, axis=0, dtype="float64"
        )
        self.class_counts += counts
        total = self.count + len(x)
        between = mean - self.mean
        self.scatter += matmul(deviations, deviations, transpose_a=True)
        self.scatter += self.count * len(x) / total * np.outer(between, between)
        self.mean += len(x) / total * between
        self.count = total

    def add_all(
        self, blocks: Iterable[tuple[np.ndarray, np.ndarray]]
    ) -> "Moments":
        """Add blocks of samples; return the moments themselves."""
        for x, y in blocks:
            self.add(x, y)
        return self

    def scaler(self) -> Standardizer:
        """Return the standardiser of the samples."""
        variance = np.diagonal(self.scatter) / self.count
        return Standardizer.of_moments(self.mean, np.sqrt(variance))

    def covariance(self) -> np.ndarray:
        """Return the covariance of standardised samples, float64 (D, D)."""
        scale = self.scaler().scale.astype("float64")
        return self.scatter / self.count / np.outer(scale, scale)

    def correlation(self) -> np.ndarray:
        """Mean products of standardised samples and one-hot targets, (D, C)."""
        sums = self.class_sums - np.outer(self.class_counts, self.mean)
        return (sums / self.count / self.scaler().scale).T

    def shares(self) -> np.ndarray:
        """Return the part of the samples that is of each class, (C,)."""
        return self.class_counts / self.count
