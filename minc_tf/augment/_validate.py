"""What the arguments of several layers have in common to be checked."""

import keras

from minc_tf._checks import (
    check_choice,
    check_number,
    is_int,
    is_number,
    refusal,
)

#: Whose operations: torchvision's, or the official code of SimCLR or BYOL.
SEMANTICS = ("torchvision", "tf", "tf_byol")


def probability(name: str, value) -> float:
    """Returns `value` as a float in [0, 1], or raises a ValueError."""
    return check_number(name, value, 0, 1)


def interval(name: str, value, low: float, high: float) -> tuple:
    """Returns `value` as (smallest, largest) with low < both <= high."""
    valid = (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and all(is_number(v) for v in value)
        and low < value[0] <= value[1] <= high
    )
    if not valid:
        wanted = f"(smallest, largest), both in ({low:g}, {high:g}]"
        raise refusal(name, wanted, value)
    return float(value[0]), float(value[1])


def odd(name: str, value) -> int:
    """Returns `value` as a positive odd int, or raises a ValueError."""
    if not is_int(value) or value < 1 or value % 2 == 0:
        raise refusal(name, "an odd int >= 1", value)
    return int(value)


def semantics(value, choices: tuple = SEMANTICS) -> str:
    """Returns `value` if it is one of the choices, or raises a ValueError."""
    return check_choice("semantics", value, choices)


def antialias(value, semantics: str) -> bool:
    """Returns `value` as a bool, or raises if `semantics` cannot have it."""
    if value and semantics != "torchvision":
        raise refusal(
            "antialias",
            f"False with semantics {semantics!r}, whose bicubic filter is "
            "never widened",
            value,
        )
    return bool(value)


def float32(dtype) -> keras.DTypePolicy:
    """Returns the policy of a layer's `dtype`, or raises a ValueError."""
    policy = keras.dtype_policies.get(dtype or "float32")
    if policy.name != "float32":
        raise refusal(
            "dtype",
            "'float32': pixels lose grey levels in lower precision",
            policy.name,
        )
    return policy
