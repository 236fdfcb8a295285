"""Checks of constructor arguments, each with a one-line message."""

import numbers

import keras

#: Whose operations: torchvision's, or the official code of SimCLR or BYOL.
SEMANTICS = ("torchvision", "tf", "tf_byol")


def is_number(value) -> bool:
    """Whether `value` is a real number (a boolean is not)."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_integer(value) -> bool:
    """Whether `value` is an integer (a boolean is not)."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def probability(name: str, value) -> float:
    """Return `value` as a float in [0, 1], or raise `ValueError`."""
    return number(name, value, 0.0, 1.0)


def number(name: str, value, low: float, high: float) -> float:
    """Return `value` as a float in [low, high], or raise `ValueError`."""
    if not is_number(value) or not low <= value <= high:
        raise ValueError(
            f"`{name}` must be a number in [{low:g}, {high:g}], got {value!r}."
        )
    return float(value)


def interval(name: str, value, low: float, high: float) -> tuple:
    """Return `value` as (smallest, largest) with low < both <= high."""
    valid = (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and all(is_number(v) for v in value)
        and low < value[0] <= value[1] <= high
    )
    if not valid:
        raise ValueError(
            f"`{name}` must be (smallest, largest), both above {low:g} and "
            f"at most {high:g}, got {value!r}."
        )
    return float(value[0]), float(value[1])


def integer(name: str, value, low: int, high: int) -> int:
    """Return `value` as an int in [low, high], or raise `ValueError`."""
    if not is_integer(value) or not low <= value <= high:
        raise ValueError(
            f"`{name}` must be an integer in [{low}, {high}], got {value!r}."
        )
    return int(value)


def odd(name: str, value) -> int:
    """Return `value` as a positive odd int, or raise `ValueError`."""
    if not is_integer(value) or value < 1 or value % 2 == 0:
        raise ValueError(
            f"`{name}` must be a positive odd integer, got {value!r}."
        )
    return int(value)


def image_size(name: str, value) -> tuple:
    """Return an int or a pair as (height, width), or raise `ValueError`."""
    pair = (value, value) if is_integer(value) else value
    valid = (
        isinstance(pair, (tuple, list))
        and len(pair) == 2
        and all(is_integer(v) and v > 0 for v in pair)
    )
    if not valid:
        raise ValueError(
            f"`{name}` must be a positive integer or (height, width) in "
            f"pixels, got {value!r}."
        )
    return int(pair[0]), int(pair[1])


def semantics(value, choices: tuple = SEMANTICS) -> str:
    """Return `value` if it is one of the choices, or raise `ValueError`."""
    if value not in choices:
        raise ValueError(
            f"`semantics` must be one of {choices}, got {value!r}."
        )
    return value


def antialias(value, semantics: str) -> bool:
    """Return `value` as a bool, or raise if `semantics` cannot have it."""
    if value and semantics != "torchvision":
        raise ValueError(
            f"`antialias` must be False with `semantics` {semantics!r}, whose "
            f"bicubic filter is never widened, got {value!r}."
        )
    return bool(value)


def float32(dtype) -> keras.DTypePolicy:
    """Return the policy of a layer's `dtype`, or raise `ValueError`."""
    policy = keras.dtype_policies.get(dtype or "float32")
    if policy.name != "float32":
        raise ValueError(
            "`dtype` must be 'float32': pixels lose grey levels in lower "
            f"precision; got {policy.name!r}."
        )
    return policy
