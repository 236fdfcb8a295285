"""Imports that wait until they are needed, and what happens at others'."""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable

#: Packages that register classes, so that saved models find them.
REGISTERING = ("augment", "models", "objectives", "optimizers")


class _First:
    """Finds one module, once, and imports it inside a context."""

    def __init__(self, name, context):
        self.name, self.context = name, context

    def find_spec(self, name, path=None, target=None):
        """The spec of the module, whose loader works inside the context."""
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                with self.context(module):
                    execute(module)

            spec.loader.exec_module = exec_module
        return spec


def around_import(
    name: str, context: Callable[..., contextlib.AbstractContextManager]
) -> None:
    """Have a module that is not imported yet imported inside a context.

    The context is made of the module, which is empty at first.
    """
    sys.meta_path.insert(0, _First(name, context))


def register_classes() -> None:
    """Import the packages whose classes saved models name.

    Called when Keras is imported, by anyone, and wherever a package of the
    library was: one that is being imported cannot be imported by the others.
    """
    if "keras" not in sys.modules:
        return
    for name in REGISTERING:
        importlib.import_module(f"minc_tf.{name}")


@contextlib.contextmanager
def registering(module):
    """The context of the import of Keras."""
    yield
    if not any(map(_is_loading, list(sys.modules))):
        register_classes()


def _is_loading(name):
    """Whether a module of the library is being imported."""
    if not name.startswith("minc_tf."):
        return False
    spec = getattr(sys.modules[name], "__spec__", None)
    return getattr(spec, "_initializing", False)


@contextlib.contextmanager
def naming_backend():
    """Say which backend of Keras is missing, in place of a bare error."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "jax"):
            raise
        extra = "[jax]" if error.name == "jax" else ""
        raise ImportError(
            f"minc_tf: keras is set to a backend that needs {error.name}, "
            f"which is not installed: pip install minc_tf{extra}. Or set "
            "KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax to the one that "
            "is, before keras is imported."
        ) from error
