"""Mean and total variance of vectors, in one pass."""

from collections.abc import Callable, Iterable

import numpy as np


def gradient_statistics(gradient: Callable, batches: Iterable) -> dict:
    """Mean and variance of any function of batches, such as a gradient.

    One pass, and two vectors of memory, in float64 (Welford's update).

    Args:
        gradient: function from a batch to a list of arrays, of the same
            shapes at each call.
        batches: iterable of batches, drawn independently of each other.

    Returns:
        dict, as `gradient_variance`.

    Raises:
        ValueError: for fewer than three batches, or gradients that are not
            finite.

    Example:
    ```python
    import numpy as np
    import minc_tf

    rng = np.random.default_rng(0)
    batches = [rng.normal(1.0, 2.0, size=(16, 3)) for _ in range(100)]
    found = minc_tf.diagnostics.gradient_statistics(
        lambda batch: [batch.mean(axis=0)], batches
    )
    print(found["variance"], found["squared_norm"])  # near 0.75 and 3
    ```

    Source: Welford 1962, Technometrics 4(3).
    """
    meter = GradientMeter()
    for batch in batches:
        meter.add(_flatten(gradient(batch)))
    return meter.result()


class GradientMeter:
    """The `gradient_statistics` of gradients that come one by one."""

    def __init__(self):
        self._count = 0
        self._mean = 0.0
        self._terms = []

    def add(self, vector):
        """Take the next vector, float array (P,)."""
        vector = np.asarray(vector, "float64")
        if not np.all(np.isfinite(vector)):
            raise ValueError(
                f"the gradient of batch {self._count} must be finite; received "
                f"{np.sum(~np.isfinite(vector))} entries that are not."
            )
        self._count += 1
        step = vector - self._mean
        self._mean = self._mean + step / self._count
        if self._count > 1:
            # Each has the variance as its expectation, and no two of them
            # are correlated where the gradient is normal.
            share = 1.0 - 1.0 / self._count
            self._terms.append(share * float(step @ step))

    def result(self):
        """The dict of `gradient_variance`."""
        if self._count < 3:
            raise ValueError(
                f"at least 3 batches are needed; received {self._count}."
            )
        variance = float(np.mean(self._terms))
        error = np.std(self._terms, ddof=1) / np.sqrt(len(self._terms))
        squared = float(self._mean @ self._mean) - variance / self._count
        return {
            "variance": variance,
            "standard_error": float(error),
            "squared_norm": squared,
            "noise_to_signal": variance / squared if squared > 0 else np.inf,
            "batches": self._count,
        }


def _flatten(arrays):
    parts = [np.asarray(array, "float64").ravel() for array in arrays]
    return np.concatenate(parts)
