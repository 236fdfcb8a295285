"""Features of mean 0 and variance 1, as the linear protocols take them."""

import numpy as np


class Standardizer:
    """Scales to mean 0 and variance 1 in training; constants become 0."""

    def __init__(self, x: np.ndarray):
        mean = x.mean(0, dtype="float64")
        self._keep(mean, x.std(0, dtype="float64"), x.dtype)

    @classmethod
    def of_moments(cls, mean: np.ndarray, std: np.ndarray) -> "Standardizer":
        """Make one of float32 features whose mean and deviation are known."""
        found = cls.__new__(cls)
        found._keep(mean, std, np.dtype("float32"))
        return found

    def _keep(self, mean, std, dtype):
        # What rounding leaves of a constant feature is not to be blown up.
        varies = std > 1e-6 * np.abs(mean)
        self.mean = mean.astype(dtype)
        self.scale = np.where(varies, std, 1).astype(dtype)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Apply the training set's shift and scale to features (M, D)."""
        return (x - self.mean) / self.scale
