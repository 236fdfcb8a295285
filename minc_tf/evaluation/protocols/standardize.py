"""Preparation of samples that the linear protocols share."""

import numpy as np


class Standardizer:
    """Shift and scale features to mean 0 and variance 1 in the training set.

    Constant features become 0.

    Args:
        x: float array (N, D), the training samples.

    Example:
    ```python
    scaler = Standardizer(train_x)
    test_x = scaler(test_x)
    ```
    """

    def __init__(self, x: np.ndarray):
        mean = x.mean(0, dtype="float64")
        std = x.std(0, dtype="float64")
        # What rounding leaves of a constant feature is not to be blown up.
        varies = std > 1e-6 * np.abs(mean)
        self.mean = mean.astype(x.dtype)
        self.scale = np.where(varies, std, 1).astype(x.dtype)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Apply the training set's shift and scale.

        Args:
            x: float array (M, D).

        Returns:
            Float array (M, D).
        """
        return (x - self.mean) / self.scale


def hold_out(
    samples: int, part: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split the training samples in two, at random, to choose a setting.

    Args:
        samples: int N.
        part: float in (0, 1), the part to hold out.
        seed: int; the same seed gives the same split.

    Returns:
        Tuple `(kept, held)` of sorted int arrays of indices below N.

    Raises:
        ValueError: a side would be empty.

    Example:
    ```python
    kept, held = hold_out(50_000, 0.1, seed=0)  # 45,000 and 5,000
    ```
    """
    held = round(samples * part)
    if not 1 <= held < samples:
        raise ValueError(
            f"held_out={part} must leave samples on both sides to choose by, "
            f"received {samples} training samples; give one setting"
        )
    order = np.random.default_rng(seed).permutation(samples)
    return np.sort(order[held:]), np.sort(order[:held])
