"""Packages whose names are imported when they are first used."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping

from minc_tf._imports import register_classes


def lazy_names(
    package: str,
    modules: Mapping[str, str],
    *,
    needs: str = "TensorFlow",
    instead: str = "",
    on_backend: bool = False,
) -> Callable:
    """The `__getattr__` of a package that imports names when they are used.

    `modules`, seen from the package (`".export.versions"`: the one beside), are
    attributes, too. None may have the name of what it holds: Python puts it in
    the package under that name as soon as anything imports it. `needs` is what
    may not be installed, `instead` what can be used without it.
    """

    def resolve(name):
        module = modules.get(name, name)
        if name not in modules and not _has_module(package, name):
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}"
            )
        if on_backend and name in modules:
            _check_backend(f"{package}.{name}")
        try:
            found = importlib.import_module(f".{module}", package)
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{package}.{name} needs {needs}, and {error.name} is not "
                f"installed: pip install minc_tf.{instead}"
            ) from error
        register_classes()
        if name in modules:
            found = getattr(found, name)
            setattr(sys.modules[package], name, found)
        return found

    return resolve


def _check_backend(name):
    """Refuse a name that is of TensorFlow on another backend of Keras."""
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ImportError(
            f"{name} needs Keras's TensorFlow backend; the backend is "
            f"{backend!r}."
        )


def _has_module(package, name):
    if name.startswith("_"):
        return False
    return importlib.util.find_spec(f"{package}.{name}") is not None
