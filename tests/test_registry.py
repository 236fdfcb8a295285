"""Names of settings: what they find, and what is refused in which words."""

import fractions

import pytest

from minc_tf._registry import Registry
from minc_tf.augment.presets import PRESETS
from minc_tf.models import ENCODERS
from minc_tf.objectives import OBJECTIVES, VICReg
from minc_tf.optimizers import OPTIMIZERS


class Base:
    """What is registered."""


class Own(Base):
    """A class in no registry."""


COUNT = 3


@pytest.fixture
def registry():
    found = Registry("thing", {"first": type("First", (Base,), {})}, base=Base)

    @found.register("second")
    class Second(Base):
        pass

    return found


def test_entries_by_name(registry):
    assert list(registry) == ["first", "second"]
    assert registry.find("second", "thing").__name__ == "Second"
    assert registry.find(f"{__name__}:Own", "thing") is Own
    # A module once named is not named for ever.
    assert list(registry) == ["first", "second"]


def test_name_of_another_entry(registry):
    with pytest.raises(ValueError, match="'first' is a registered thing alr"):
        registry.register("first")(Own)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "secnd",
            "one of first, second, or 'package.module:Name'; received "
            "'secnd'; did you mean 'second'",
        ),
        ("x", "received 'x'.$"),
        (3, "received 3"),
        (None, "received None"),
        (
            "nowhere.at_all:Own",
            "cannot be imported: ModuleNotFoundError: .*PYTHONPATH",
        ),
        (":Own", "=':Own' cannot be imported: ValueError"),
        (".near:Own", "cannot be imported: TypeError"),
        ("broken_things:Own", "cannot be imported: SyntaxError"),
        ("raising_things:Own", "cannot be imported: KeyError: 'a key'"),
        (f"{__name__}:Own2", "has no 'Own2'; did you mean 'Own'"),
        (f"{__name__}:", "has no ''"),
        (f"{__name__}:COUNT", "a subclass of Base; .* is of type int"),
        (f"{__name__}:Base", "a subclass of Base; .* is the class Base"),
        ("fractions:Fraction", "subclass of Base; .* the class Fraction"),
    ],
)
def test_refused(registry, name, message, tmp_path, monkeypatch):
    (tmp_path / "broken_things.py").write_text("class Own(:\n")
    (tmp_path / "raising_things.py").write_text("raise KeyError('a key')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        registry.find(name, "config.thing.name")
    assert str(caught.value).startswith("config.thing.name")
    assert "\n" not in str(caught.value)


def test_what_can_be_called():
    assert PRESETS.find("fractions:Fraction", "preset") is fractions.Fraction
    with pytest.raises(ValueError, match=r"can be called; .* of type int"):
        ENCODERS.find(f"{__name__}:COUNT", "encoder")


def test_names_in_settings():
    """Names are part of every run's folder: they stay."""
    assert {
        "minc",
        "spectral",
        "nt_xent",
        "negative_cosine",
        "vicreg",
        "vicreg_exp",
        "vicreg_ctr",
        "fmicl",
        "mio",
        "barlow_twins",
    } <= set(OBJECTIVES)
    assert {"adamw", "sgd", "lars"} <= set(OPTIMIZERS)
    assert {"resnet18", "resnet34", "resnet50", "small_resnet"} <= set(ENCODERS)
    assert {"simclr", "byol", "simsiam", "mio"} <= set(PRESETS)
    assert OBJECTIVES["vicreg"] is VICReg
