"""Callbacks of the user's own: what a run takes, and how they are named."""

import inspect
from collections.abc import Sequence

import keras
from ml_collections import ConfigDict

from minc_tf._registry import Registry, described

#: What Keras's `fit` needs these for, a run has.
_UNFIT = {
    keras.callbacks.BackupAndRestore: "a run goes on from its own checkpoints",
    keras.callbacks.SwapEMAWeights: "checkpoints would hold the averages; "
    "config.optimizer.use_ema=True leaves them in model.keras",
}

_BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
)


def check_callbacks(name: str, given: Sequence) -> list:
    """Check callbacks, given by a user as the argument or flag `name`."""
    wanted = "a list of keras.callbacks.Callback"
    if not isinstance(given, (list, tuple)):
        raise ValueError(f"{name} must be {wanted}; received {given!r}.")
    for index, each in enumerate(given):
        if not isinstance(each, keras.callbacks.Callback):
            raise ValueError(
                f"{name} must be {wanted}; number {index} is {described(each)}."
            )
        for cls, reason in _UNFIT.items():
            if isinstance(each, cls):
                raise ValueError(
                    f"{name}: {cls.__name__} does not work here: {reason}."
                )
    return list(given)


def find_callbacks(name: str, setting: str, config: ConfigDict) -> list:
    """The callbacks that a user's `"package.module:function"` returns.

    It takes no argument, or a copy of the settings; `setting` is the flag.
    """
    function = Registry("function").find(name, setting)
    arguments = []
    parameters = inspect.signature(function).parameters.values()
    needed = [
        p
        for p in parameters
        if p.default is p.empty
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if needed or any(p.name == "config" for p in parameters):
        arguments = [config.copy_and_resolve_references()]
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise ValueError(
            f"{setting}={name!r} must take no argument, or the settings; it "
            f"takes {', '.join(p.name for p in needed)}."
        ) from error
    return check_callbacks(
        f"{setting}={name!r}: what it returns", function(*arguments)
    )


def watch_batches(callbacks: Sequence) -> bool:
    """Whether any of them has a hook of batches, and not Keras's empty one."""
    return any(
        getattr(method, "__func__", method)
        is not getattr(keras.callbacks.Callback, hook)
        for each in callbacks
        for hook in _BATCH_HOOKS
        for method in [getattr(each, hook)]
    )
