"""The checks of `minc_tf._checks`, as other packages still call them."""

from minc_tf._checks import check_choice, check_int

__all__ = ["check_choice", "check_count", "check_seed"]


def check_count(name: str, value) -> None:
    """Raises a ValueError unless `value` is an int of at least 1."""
    check_int(name, value, 1)


def check_seed(name: str, value) -> None:
    """Raises a ValueError unless `value` is an int of at least 0."""
    check_int(name, value, 0)
