"""What settings call by name: objectives, encoders, optimizers, presets."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from minc_tf._checks import did_you_mean, refusal


class Registry(Mapping):
    """The classes or functions of one kind, by the names of the settings.

    One line beside a class adds it: `@OBJECTIVES.register("minc")`. What is
    in no registry, `find` takes as `"package.module:Name"`.

    Args:
        kind: string, what is registered.
        entries: classes or functions, by name.
        base: class of which the entries are; None for functions and whatever
            else can be called.
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[str, Callable] | None = None,
        base: type | None = None,
    ):
        """See the class."""
        self.kind = kind
        self._entries = dict(entries or {})
        self._base = base

    def __getitem__(self, name: str) -> Callable:
        """The entry of a name."""
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """The names, in the order in which they were registered."""
        return iter(self._entries)

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._entries)

    def register(self, name: str) -> Callable[[Callable], Callable]:
        """A decorator that adds a class or a function.

        Args:
            name: string, the name in settings.

        Returns:
            The decorator; it returns what it is given.

        Raises:
            ValueError: if the name is another's.
        """

        def add(entry):
            if self._entries.setdefault(name, entry) is not entry:
                raise ValueError(
                    f"register: {name!r} is a registered {self.kind} already."
                )
            return entry

        return add

    def find(self, name: str, setting: str) -> Any:
        """The entry of a name, or what a `"package.module:Name"` names.

        Args:
            name: string.
            setting: string, the setting or argument with this value.

        Returns:
            A class or function.

        Raises:
            ValueError: for an unknown name (the nearest is given), or one
                that cannot be imported or is of another kind.
        """
        if isinstance(name, str):
            if name in self._entries:
                return self._entries[name]
            if ":" in name:
                return self._import(name, setting)
        listed = f"one of {', '.join(self)}, or " if self else ""
        wanted = f"{listed}'package.module:Name'"
        raise refusal(setting, wanted, name, did_you_mean(name, self))

    def _import(self, name, setting):
        module_name, _, attribute = name.partition(":")
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # whatever the module does on import
            text = " ".join(str(error).split()) or "no reason given"
            raise ValueError(
                f"{setting}={name!r} cannot be imported: "
                f"{type(error).__name__}: {text}. Its package must be "
                "installed, or its folder the current one or on PYTHONPATH."
            ) from error
        found = getattr(module, attribute, None)
        if found is None:
            raise ValueError(
                f"{setting}={name!r}: {module_name} has no {attribute!r}"
                f"{did_you_mean(attribute, dir(module))}"
            )
        if not self._accepts(found):
            wanted = "a function or class that can be called"
            if self._base is not None:
                wanted = f"a subclass of {self._base.__name__}"
            raise ValueError(
                f"{setting} must name {wanted}; {name!r} is {described(found)}."
            )
        return found

    def _accepts(self, found):
        if self._base is None:
            return callable(found)
        return (
            isinstance(found, type)
            and issubclass(found, self._base)
            and found is not self._base
        )


def described(found) -> str:
    """What an object is, in a few words."""
    if isinstance(found, type):
        return f"the class {found.__name__}"
    return f"of type {type(found).__name__}"
