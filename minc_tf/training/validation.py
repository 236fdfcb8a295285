"""The checks of a run's settings, before any work starts."""

import difflib
import inspect

from ml_collections import ConfigDict

from minc_tf import models
from minc_tf._checks import (
    check_choice,
    check_int,
    check_number,
    check_positive,
    refusal,
)
from minc_tf.augment.presets import PRESETS
from minc_tf.data.limits import check_max_pixels
from minc_tf.models import ENCODERS
from minc_tf.objectives import OBJECTIVES
from minc_tf.optimizers import OPTIMIZERS
from minc_tf.training.config import (
    ALARMS,
    FIXED_SECTIONS,
    OPTIMIZER_SETTINGS,
    PLACES,
    SMALL_CROPS,
    STRATEGIES,
    default_config,
    view_fields,
)

#: Arguments that come from other settings.
_FILLED_IN = ("image_shape",)


def validate(config: ConfigDict) -> None:
    """Check a run's settings before any work starts.

    Args:
        config: `ml_collections.ConfigDict`, the settings.

    Raises:
        ValueError: for an unknown or missing key (with the nearest valid
            one), or a value without meaning.
    """
    default = default_config()
    _check_keys("", config, list(default), required=list(default))
    for section in FIXED_SECTIONS:
        names = list(default[section])
        _check_keys(section, config[section], names, required=names)
    _check_smallest(config, 1, "batch_size", "epochs", "micro_batches")
    _check_smallest(config, 0, "seed")
    _check_holdout(config.data)
    check_max_pixels("config.data.max_pixels", config.data.max_pixels)
    check_choice("config.strategy", config.strategy, STRATEGIES)
    _check_smallest(config, 1, "checkpoint.max_to_keep")
    _check_smallest(config, 0, "checkpoint.every_steps")
    _check_smallest(config, 0, "diagnostics.every", "report.num_examples")
    _check_smallest(config, 0, "diagnostics.gradient_batches")
    batches = config.diagnostics.gradient_batches
    if batches in (1, 2):
        name = "config.diagnostics.gradient_batches"
        raise refusal(name, "0, or an int >= 3", batches)
    _check_smallest(config, 3, "diagnostics.num_examples")
    check_choice("config.diagnostics.alarm", config.diagnostics.alarm, ALARMS)
    _check_smallest(config, 1, "distribute.port", "distribute.join_timeout")
    if config.batch_size % config.micro_batches:
        raise ValueError(
            f"config.micro_batches={config.micro_batches} must divide "
            f"config.batch_size={config.batch_size}."
        )
    precisions = ("float32", "mixed_bfloat16", "mixed_float16")
    check_choice("config.precision", config.precision, precisions)
    fields = ("size", *SMALL_CROPS, *view_fields())
    _check_arguments("views", config.views, PRESETS, fields, ["size"])
    _check_small_crops(config)
    _check_place_of_views(config)
    # Dotted names are of libraries, whose functions check for themselves.
    name = config.encoder.get("name")
    if not isinstance(name, str) or name in ENCODERS or ":" in name:
        _check_arguments("encoder", config.encoder, ENCODERS, ("weights",))
    _check_arguments("objective", config.objective, OBJECTIVES)
    own = OPTIMIZER_SETTINGS
    _check_arguments("optimizer", config.optimizer, OPTIMIZERS, own, own[:3])
    rate = config.optimizer.get("learning_rate")
    check_positive("config.optimizer.learning_rate", rate)
    warmup = config.optimizer.get("warmup_epochs")
    check_number("config.optimizer.warmup_epochs", warmup, 0)
    _check_heads(config)


def _check_smallest(config, smallest, *keys):
    """Check ints that must not be less than `smallest`, by `section.key`."""
    for key in keys:
        value = config
        for part in key.split("."):
            value = value[part]
        check_int(f"config.{key}", value, smallest)


def _check_holdout(section):
    if section.holdout is None:
        return
    check_number("config.data.holdout", section.holdout, 0, 0.9)
    if section.holdout and "[" in section.split:
        raise ValueError(
            f"config.data.holdout={section.holdout} is taken of a whole split; "
            f"received config.data.split={section.split!r}."
        )


def _check_small_crops(config):
    count = config.views.get("small_crops", 0)
    check_int("config.views.small_crops", count, 0)
    if not count:
        for key in SMALL_CROPS[1:]:
            if key in config.views:
                raise ValueError(
                    f"config.views.{key}={config.views[key]!r} needs "
                    "config.views.small_crops; received none."
                )
    elif config.micro_batches > 1:
        raise ValueError(
            f"config.micro_batches={config.micro_batches} works with two "
            f"views; received config.views.small_crops={count}."
        )


def _check_place_of_views(config):
    check_choice("config.augment.where", config.augment.where, PLACES)
    if config.augment.where == "input":
        return
    others = ("views.small_crops", config.views.get("small_crops"))
    for key, value in (others, ("data.service", config.data.service)):
        if value:
            raise ValueError(
                f"config.{key}={value!r} needs views that the input pipeline "
                "makes; received config.augment.where='device'."
            )


def _check_heads(config):
    """Projector, predictor, target, and what they must have in common."""
    widths = _check_head("projector", config.projector)
    rate = config.optimizer.get("predictor_rate", "scheduled")
    rates = ("scheduled", "constant")
    check_choice("config.optimizer.predictor_rate", rate, rates)
    if config.predictor:
        outputs = _check_head("predictor", config.predictor)
        if outputs[-1] != widths[-1]:
            raise ValueError(
                f"config.predictor.widths={tuple(outputs)} must end in the "
                f"embedding's dimension, as config.projector.widths="
                f"{tuple(widths)} does."
            )
    elif rate != "scheduled":
        raise ValueError(
            f"config.optimizer.predictor_rate={rate!r} needs "
            "config.predictor; received none."
        )
    schedules = ("cosine", "constant")
    check_choice("config.target.schedule", config.target.schedule, schedules)
    momentum = config.target.momentum
    if momentum is not None:
        also = ", or None for no target network"
        check_number("config.target.momentum", momentum, 0, 1, also=also)
    dim = config.objective.get("dim")
    if dim is not None and dim != widths[-1]:
        raise ValueError(
            f"config.objective.dim={dim} must be the last of "
            f"config.projector.widths={tuple(widths)}."
        )


def _check_head(section, config):
    """The arguments of `mlp`; returns the widths."""
    names = [p for p in inspect.signature(models.mlp).parameters][1:]
    _check_keys(section, config, names, required=["widths"])
    widths = config.widths
    if not isinstance(widths, (tuple, list)) or not widths:
        raise ValueError(
            f"config.{section}.widths must be one or more ints, as (512, "
            f"128); received {widths!r}."
        )
    return widths


def _check_arguments(section, config, registry, own=(), required=()):
    """A section with a name: the name, then the arguments of what it names."""
    label = "preset" if section == "views" else "name"
    name = config.get(label)
    entry = registry.find(name, f"config.{section}.{label}")
    try:
        parameters = inspect.signature(entry).parameters.values()
    except ValueError as error:  # some of what is written in C
        raise ValueError(
            f"config.{section}.{label}={name!r} does not tell its arguments; "
            "write a Python function around it."
        ) from error
    # Keras's optimizers, too, take further arguments: to refuse them.
    open_ended = name not in registry and any(
        p.kind == p.VAR_KEYWORD for p in parameters
    )
    taken = (*own, "name", *_FILLED_IN)
    named = [
        p
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and p.name not in taken
    ]
    allowed = [label, *own, *(p.name for p in named)]
    if open_ended:
        allowed += [key for key in config if key not in allowed]
    needed = [p.name for p in named if p.default is p.empty]
    _check_keys(section, config, allowed, [label, *required, *needed])


def _check_keys(section, config, allowed, required):
    prefix = f"config.{section}." if section else "config."
    for key in config:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            raise ValueError(
                f"{prefix}{key} is not a setting"
                + (f"; did you mean {prefix}{near[0]}? " if near else "; ")
                + f"Valid are {', '.join(allowed)}."
            )
    for key in required:
        if key not in config:
            raise ValueError(
                f"{prefix}{key} is missing; valid keys are "
                f"{', '.join(allowed)}."
            )
