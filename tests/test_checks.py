"""The checks of arguments: what they let pass, and their one wording."""

import numpy as np
import pytest

from minc_tf import _checks

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "check, value, expected",
    [
        (lambda v: _checks.check_int("n", v, 1), np.int64(3), 3),
        (lambda v: _checks.check_int("n", v, 0, 2), 2, 2),
        (lambda v: _checks.check_number("x", v, 0, 1), 0, 0.0),
        (lambda v: _checks.check_number("x", v, 0, 1), np.float32(1), 1.0),
        (lambda v: _checks.check_positive("x", v), 1e-9, 1e-9),
        (lambda v: _checks.check_bool("b", v), False, False),
        (lambda v: _checks.check_choice("c", v, {"one": 1}), "one", "one"),
    ],
)
def test_what_passes_comes_back(check, value, expected):
    found = check(value)
    assert found == expected
    # A saved configuration holds Python's own types.
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "check, values, wanted",
    [
        (
            lambda v: _checks.check_int("n", v, 1),
            [0, -1, 1.0, True, "1", None, np.array(1)],
            "n must be an int >= 1",
        ),
        (
            lambda v: _checks.check_int("n", v, 0, 2),
            [-1, 3, INF],
            "n must be an int in [0, 2]",
        ),
        (
            lambda v: _checks.check_number("x", v, 0, 1),
            [-0.1, 1.1, NAN, "0", None, True],
            "x must be a number in [0, 1]",
        ),
        (
            lambda v: _checks.check_number("x", v, 0, 1, ends="()"),
            [0, 1.0],
            "x must be a number in (0, 1)",
        ),
        (
            lambda v: _checks.check_number("x", v, 0, also=", or None"),
            [-1, INF, NAN],
            "x must be a finite number >= 0, or None",
        ),
        (
            lambda v: _checks.check_positive("x", v),
            [0, 0.0, -1, INF, NAN],
            "x must be a finite number > 0",
        ),
        (
            lambda v: _checks.check_bool("b", v),
            [0, 1, None, "no"],
            "b must be True or False",
        ),
        (
            lambda v: _checks.check_choice("c", v, ("one", 2)),
            ["three", None],
            "c must be one of 'one', 2",
        ),
    ],
)
def test_what_does_not_is_named(check, values, wanted):
    for value in values:
        with pytest.raises(ValueError) as error:
            check(value)
        assert str(error.value) == f"{wanted}; received {value!r}."


@pytest.mark.parametrize("value", ["SimCLR", "simclear"])
def test_the_nearest_choice_is_named(value):
    with pytest.raises(ValueError, match=r"; did you mean 'simclr'\?$"):
        _checks.check_choice("method", value, ("byol", "simclr"))


@pytest.mark.parametrize(
    "expected, fits",
    [
        ((8, 8, 3), True),
        ((None, None, 3), True),
        ((8, 8, 1), False),
        ((8, 8), False),
        ((8, 8, 3, 1), False),
    ],
)
def test_shapes_of_images(expected, fits):
    assert _checks.shapes_fit((8, 8, 3), expected) == fits
    assert _checks.shapes_fit(expected, (8, None, 3)) == fits
    if fits:
        _checks.check_image_shape((8, 8, 3), expected)
        return
    with pytest.raises(ValueError, match=r"built for; received \(8, 8, 3\)"):
        _checks.check_image_shape((8, 8, 3), expected)
