"""Checks of arguments, and the order of seeded subsets."""

import difflib
import operator

import numpy as np


def permutation(n: int, seed: int) -> np.ndarray:
    """Return the order in which seeded caps and subsets take examples.

    Args:
        n: int, the number of examples.
        seed: int >= 0.

    Returns:
        int64 array `(n,)`, a permutation of `range(n)`.

    Raises:
        ValueError: If `seed` is not an int >= 0.
    """
    check_seed("seed", seed)
    return np.random.default_rng(seed).permutation(n)


def check_count(name: str, value) -> None:
    """Raise unless `value` is an int of at least 1."""
    if not _is_int(value) or value < 1:
        raise ValueError(f"{name} must be an int >= 1; received {value!r}")


def check_seed(name: str, value) -> None:
    """Raise unless `value` is an int of at least 0."""
    if not _is_int(value) or value < 0:
        raise ValueError(f"{name} must be an int >= 0; received {value!r}")


def check_choice(name: str, value, choices) -> None:
    """Raise unless `value` is one of `choices`, and names the nearest."""
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        hint = did_you_mean(value, choices)
        raise ValueError(
            f"{name} must be one of {listed}; received {value!r}{hint}"
        )


def did_you_mean(value, choices) -> str:
    """Return `" (did you mean ...?)"`, or nothing when nothing is near."""
    near = difflib.get_close_matches(str(value), [str(c) for c in choices], 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _is_int(value):
    if isinstance(value, bool | np.bool_):
        return False
    try:
        operator.index(value)
    except TypeError:
        return False
    return True
