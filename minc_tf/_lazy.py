"""Packages whose names are imported when they are first used."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping

import keras


def lazy_names(
    package: str,
    modules: Mapping[str, str],
    *,
    needs: str = "TensorFlow",
    instead: str = "",
    on_backend: bool = False,
) -> Callable:
    """The `__getattr__` of a package that imports names when they are used.

    Its modules can be used as attributes, too. None of them may have the
    name of what it holds: Python puts it in the package under that name as
    soon as anything imports it.

    Args:
        package: string, `__name__` of the package.
        modules: for each name the module that holds it, seen from the
            package: `"shapes"`, or `".export.versions"` in the one beside.
        needs: string, what the modules import that may not be installed.
        instead: string, what can be used without it.
        on_backend: bool, whether they need Keras's TensorFlow backend.

    Returns:
        Function from a name to what it names, which raises AttributeError
        for an unknown one, and ImportError, with `needs`, for one whose
        module cannot be imported.
    """

    def resolve(name):
        module = modules.get(name, name)
        if name not in modules and not _has_module(package, name):
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}"
            )
        backend = keras.backend.backend()
        if on_backend and name in modules and backend != "tensorflow":
            raise ImportError(
                f"{package}.{name} needs Keras's TensorFlow backend; the "
                f"backend is {backend!r}."
            )
        try:
            found = importlib.import_module(f".{module}", package)
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{package}.{name} needs {needs}, and {error.name} is not "
                f"installed: pip install minc_tf.{instead}"
            ) from error
        if name in modules:
            found = getattr(found, name)
            setattr(sys.modules[package], name, found)
        return found

    return resolve


def _has_module(package, name):
    if name.startswith("_"):
        return False
    return importlib.util.find_spec(f"{package}.{name}") is not None
