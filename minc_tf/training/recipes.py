"""Recipes: files of settings, and what a method sets in them."""

import inspect
import os
import runpy
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from minc_tf import models
from minc_tf._recipes import locate


def load_recipe(recipe: str | os.PathLike) -> ConfigDict:
    """Run a recipe file and return its settings.

    Args:
        recipe: path of a Python file that defines `get_config()`, or path and
            argument, `"FILE.py:ARGUMENT"`, of one whose `get_config` takes a
            string; or `"minc_tf:NAME:ARGUMENT"`, one of the library's, which
            `minc-pretrain --list` lists.

    Returns:
        The `ConfigDict` that its `get_config` returns.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no Python, defines no `get_config`, takes no
            argument or not this one, or sets an unknown key or a value of a
            wrong type.

    Example:
    ```python
    import minc_tf

    config = minc_tf.training.load_recipe("minc_tf:cifar10:byol")
    ```
    """
    recipe = os.fspath(recipe)
    path, arguments = locate(recipe)
    try:
        get_config = runpy.run_path(path).get("get_config")
        if get_config is not None:
            _check_arguments(recipe, get_config, arguments)
            return get_config(*arguments)
    except (AttributeError, KeyError, SyntaxError, TypeError) as error:
        # ml_collections wraps one error in another, whose text is its repr.
        # It puts its guess on the last of several lines.
        inner = error
        while inner.args and isinstance(inner.args[0], Exception):
            inner = inner.args[0]
        text = inner.args[0] if isinstance(inner, KeyError) else inner
        lines = str(text).splitlines()
        raise ValueError(
            f"recipe {recipe!r}: {lines[0].split(' Other fields')[0]} "
            f"{lines[-1] if len(lines) > 1 else ''}".strip()
        ) from error
    raise ValueError(f"recipe {recipe!r} defines no get_config().")


def _check_arguments(recipe, get_config, arguments):
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError as error:
        raise ValueError(
            f"recipe {recipe!r}: its get_config() takes no argument; received "
            f"{arguments[0]!r}."
            if arguments
            else f"recipe {recipe!r} needs an argument: {recipe}:ARGUMENT."
        ) from error


def use_method(config: ConfigDict, method: str, **objective: Any) -> None:
    """Set what makes a method: objective, heads and target network.

    The rest of the settings stays, so that recipes of several methods differ
    only where the methods do.

    Args:
        config: the settings, changed in place.
        method: string, one of `minc_tf.methods()`.
        **objective: arguments of the objective, if other than the method's.

    Raises:
        ValueError: for an unknown method.

    Example:
    ```python
    import minc_tf

    config = minc_tf.training.default_config()
    minc_tf.training.use_method(config, "simclr", temperature=0.2)
    ```
    """
    row = models.find_method(method)
    parts = row.parts(**objective)
    config.objective = parts["objective"]
    config.projector = parts["projector"]
    config.predictor = parts["predictor"]
    config.target.momentum = row.target_momentum
    rate = "constant" if row.constant_predictor_rate else "scheduled"
    config.optimizer.predictor_rate = rate


def set_widths(
    config: ConfigDict,
    projector: Sequence[int],
    predictor: Sequence[int] | None = None,
) -> None:
    """Set the widths of the heads, and what depends on them.

    Args:
        config: the settings of a method, changed in place.
        projector: dimensions of the projector's layers.
        predictor: dimensions of the predictor's hidden layers, if it has any.
    """
    config.projector.widths = tuple(projector)
    if config.predictor:
        hidden = (
            config.predictor.widths[:-1] if predictor is None else predictor
        )
        config.predictor.widths = (*hidden, projector[-1])
    if "dim" in config.objective:
        config.objective.dim = projector[-1]
