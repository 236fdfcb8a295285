"""Mean and interval over seeds."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

#: Measured on the test split; what else a protocol returns it has chosen.
_MEASURED = ("accuracy", "class_accuracy")


def summarise(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and half-width of its 95 % interval by Student's t.

    Args:
        values: sequence of finite floats, one a seed.

    Returns:
        Tuple `(mean, half_width)` of floats; `half_width` is `None` for a
        single value, which tells nothing of its spread.

    Raises:
        ValueError: no values, or values that are not finite.

    Example:
    ```python
    summarise([0.60, 0.62, 0.64])  # (0.62, 0.0497)
    ```

    Source: Student, "The Probable Error of a Mean", Biometrika 6, 1908.
    """
    values = np.asarray(values, "float64")
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(
            f"values must be one or more finite floats; received {values}"
        )
    mean, count = float(values.mean()), len(values)
    if count == 1:
        return mean, None
    quantile = special.stdtrit(count - 1, 0.975)
    return mean, float(quantile * values.std(ddof=1) / np.sqrt(count))


def over_seeds(
    name: str,
    run: Callable[..., dict[str, float]],
    seeds: Sequence[int],
) -> dict:
    """Run a protocol once a seed; means become `<name>_<key>`.

    From two seeds on there is `..._ci95`, the half-width; choices become lists.
    """
    if not len(seeds):
        raise ValueError(f"seeds must be one or more; received {seeds}")
    found = [run(seed=seed) for seed in seeds]
    results = {}
    for key in found[0]:
        values = [one[key] for one in found]
        if key not in _MEASURED:
            results[f"{name}_{key}"] = values if len(seeds) > 1 else values[0]
            continue
        mean, half_width = summarise(values)
        results[f"{name}_{key}"] = mean
        if half_width is not None:
            results[f"{name}_{key}_ci95"] = half_width
    return results
