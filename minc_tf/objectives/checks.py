"""Checks of constructor arguments: one line, with the value received."""

import math
import numbers


def is_number(value) -> bool:
    """Whether an argument is a real number, no bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_positive(caller: str, **arguments) -> None:
    """Raises a ValueError unless each argument is positive and finite."""
    for name, value in arguments.items():
        if not (is_number(value) and 0.0 < value < math.inf):
            raise ValueError(
                f"{caller}: {name} must be positive and finite; received "
                f"{value!r}."
            )


def check_not_negative(caller: str, **arguments) -> None:
    """Raises a ValueError unless each argument is finite, 0 or more."""
    for name, value in arguments.items():
        if not (is_number(value) and 0.0 <= value < math.inf):
            raise ValueError(
                f"{caller}: {name} must be finite and not negative; received "
                f"{value!r}."
            )


def check_positive_int(caller: str, **arguments) -> None:
    """Raises a ValueError unless each argument is an int, 1 or more."""
    for name, value in arguments.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(
                f"{caller}: {name} must be a positive int; received {value!r}."
            )


def check_bool(caller: str, **arguments) -> None:
    """Raises a ValueError unless each argument is True or False."""
    for name, value in arguments.items():
        if not isinstance(value, bool):
            raise ValueError(
                f"{caller}: {name} must be True or False; received {value!r}."
            )


def check_choice(caller: str, choices, **argument) -> None:
    """Raises a ValueError unless the argument is one of `choices`."""
    ((name, value),) = argument.items()
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(
            f"{caller}: {name} must be one of {listed}; received {value!r}."
        )


def check_mu(caller: str, mu) -> None:
    """Raises a ValueError unless `mu` is a bound for `clip_norm`."""
    if mu is not None and not (is_number(mu) and 0.0 < mu < math.inf):
        raise ValueError(
            f"{caller}: mu must be positive and finite, or None; received "
            f"{mu!r}."
        )
