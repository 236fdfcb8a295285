"""Checks of arguments, in one wording.

`NAME must be WANTED; received VALUE.`, where NAME is what the user calls the
argument (`"MINC: dim"`, `"config.seed"`).
"""

import difflib
import math
import numbers
from collections.abc import Iterable


def refusal(name: str, wanted: str, value, ending: str = ".") -> ValueError:
    """The error that says what an argument must be, to raise."""
    return ValueError(f"{name} must be {wanted}; received {value!r}{ending}")


def is_number(value) -> bool:
    """Whether `value` is a real number (a bool is none)."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_int(value) -> bool:
    """Whether `value` is an int, of Python or NumPy (a bool is none)."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_int(
    name: str,
    value,
    low: int,
    high: int | None = None,
    *,
    other_type: type[Exception] = ValueError,
) -> int:
    """Returns an int in [low, high], or raises a ValueError.

    What is no int is an `other_type`, where a caller's users know a TypeError.
    """
    if is_int(value) and low <= value and (high is None or value <= high):
        return int(value)
    among = f">= {low}" if high is None else f"in [{low}, {high}]"
    error = refusal(name, f"an int {among}", value)
    raise error if is_int(value) else other_type(str(error))


def check_number(
    name: str,
    value,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    ends: str = "[]",
    also: str = "",
) -> float:
    """Returns a finite number between two others, or raises a ValueError.

    `"("` or `")"` in `ends` is an end that does not belong; `also` is what else
    the caller takes: `", or None"`.
    """
    if not (
        is_number(value)
        and math.isfinite(value)
        and (low < value if ends[0] == "(" else low <= value)
        and (value < high if ends[1] == ")" else value <= high)
    ):
        raise refusal(name, _number(low, high, ends) + also, value)
    return float(value)


def _number(low, high, ends):
    """What a number between two others is called."""
    if high < math.inf:
        return f"a number in {ends[0]}{low:g}, {high:g}{ends[1]}"
    return f"a finite number {'>' if ends[0] == '(' else '>='} {low:g}"


def check_size(name: str, value, also: str = "") -> tuple[int, int]:
    """Returns an int or a pair as (height, width), or raises a ValueError."""
    pair = (value, value) if is_int(value) else value
    if not (
        isinstance(pair, (tuple, list))
        and len(pair) == 2
        and all(is_int(v) and v >= 1 for v in pair)
    ):
        wanted = "an int >= 1 or a pair (height, width), in pixels"
        raise refusal(name, wanted + also, value)
    return int(pair[0]), int(pair[1])


def check_positive(name: str, value) -> float:
    """Returns a finite number above 0, or raises a ValueError."""
    return check_number(name, value, 0, ends="(]")


def check_bool(name: str, value) -> bool:
    """Returns True or False, or raises a ValueError for anything else."""
    if not isinstance(value, bool):
        raise refusal(name, "True or False", value)
    return value


def check_choice(name: str, value, choices: Iterable):
    """Returns one of `choices`, or raises a ValueError with the nearest."""
    choices = tuple(choices)
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        ending = did_you_mean(value, choices)
        raise refusal(name, f"one of {listed}", value, ending)
    return value


def shapes_fit(shape, other) -> bool:
    """Whether two shapes are equal, as far as both are known.

    A `tf.TensorShape` of unknown rank fits all.
    """
    if None in (getattr(shape, "rank", 0), getattr(other, "rank", 0)):
        return True
    return len(shape) == len(other) and all(
        a == b or a is None or b is None
        for a, b in zip(shape, other, strict=True)
    )


def check_image_shape(received, expected) -> None:
    """Refuses images (H, W, C) of another shape than a model takes."""
    if not shapes_fit(received, expected):
        raise ValueError(
            f"images must have shape {tuple(expected)}, which the model was "
            f"built for; received {tuple(received)}"
        )


def did_you_mean(value, choices: Iterable) -> str:
    """The end of a sentence: `"; did you mean ...?"`, or a full stop."""
    if not isinstance(value, str):
        return "."
    names = {str(choice).lower(): str(choice) for choice in choices}
    near = difflib.get_close_matches(value.lower(), names, n=1)
    return f"; did you mean {names[near[0]]!r}?" if near else "."
