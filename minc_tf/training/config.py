"""The settings of a run, their defaults, and their checks."""

import dataclasses
import difflib
import inspect
import json

import keras
from ml_collections import ConfigDict, config_dict

from minc_tf import models, objectives, optimizers

OBJECTIVES = {
    "minc": objectives.MINC,
    "spectral": objectives.SpectralContrastive,
    "nt_xent": objectives.NTXent,
    "negative_cosine": objectives.NegativeCosine,
    "vicreg": objectives.VICReg,
    "vicreg_exp": objectives.VICRegExp,
    "vicreg_ctr": objectives.VICRegCtr,
    "fmicl": objectives.FMICL,
    "mio": objectives.MIO,
    "barlow_twins": objectives.BarlowTwins,
}

OPTIMIZERS = {
    "adamw": keras.optimizers.AdamW,
    "lars": optimizers.LARS,
    "sgd": keras.optimizers.SGD,
}

_ENCODERS = {
    "small_resnet": models.small_resnet,
    **dict.fromkeys(("resnet18", "resnet34", "resnet50"), models.resnet),
}

#: Arguments that come from other settings.
_FILLED_IN = ("image_shape", "depth")

#: Sections that take the arguments of what they name.
_EXTENSIBLE = (
    "views",
    "encoder",
    "projector",
    "predictor",
    "objective",
    "optimizer",
)

#: Sections of which all keys are known.
FIXED_SECTIONS = ("data", "monitor", "target", "checkpoint", "distribute")

#: Settings, or the sections of settings, that do not change what is trained.
MACHINE_SETTINGS = ("strategy", "distribute.", "checkpoint.", "data.service")

STRATEGIES = ("default", "mirrored", "multiworker", "tpu", "auto")

#: Settings of the views' section that make small crops.
SMALL_CROPS = ("small_crops", "small_size", "small_area")

#: Settings of the optimizer's section that are not its class's arguments.
OPTIMIZER_SETTINGS = (
    "learning_rate",
    "scale_with_batch",
    "warmup_epochs",
    "predictor_rate",
)


def default_config() -> ConfigDict:
    """The settings that a recipe starts from.

    Returns:
        A locked `ml_collections.ConfigDict`: setting a key that does not
        exist is an error. Its sections:

        - `seed`, `batch_size` (of all devices together), `epochs`,
          `micro_batches`, `precision` ("float32", "mixed_bfloat16",
          "mixed_float16"), `jit_compile`;
        - `strategy` ("default", "mirrored", "multiworker", "tpu", "auto") and
          `distribute`, its `devices`, `tpu`, `port` and `join_timeout`: the
          arguments of `minc_tf.training.make_strategy`;
        - `checkpoint`: `every_steps`, besides those at the end of epochs (0:
          none), and `max_to_keep`;
        - `data`: `name`, `data_dir`, `split`, `image_size`, `skip_bad`,
          `num_examples`, `classes` (a tuple of names, or the path of a file
          with one a line; see `minc_tf.data.load`), `service` (addresses of
          tf.data services that make the views); for the kNN monitor and
          evaluation `labelled_split` (None: `split`) and `test_split` (None:
          no monitor);
        - `views`: `preset` ("simclr", "byol", "simsiam", "mio"), `size` in
          pixels, the arguments of the preset (`minc_tf.augment.presets`),
          fields of `minc_tf.augment.ViewConfig` to set in all its views, and
          `small_crops`, a number of further views of `small_size` pixels and
          `small_area` (`minc_tf.augment.presets.multi_crop`);
        - `encoder`: `name` and arguments of `minc_tf.models.build_encoder`;
        - `projector`, `predictor`: arguments of `minc_tf.models.mlp`; with an
          empty `predictor` there is none;
        - `target`: `momentum` of the target network (None: no such network)
          and its `schedule`, "cosine" (to 1 at the end) or "constant";
        - `objective`: `name` ("minc", "spectral", "nt_xent",
          "negative_cosine", "vicreg", "vicreg_exp", "vicreg_ctr", "fmicl",
          "mio", "barlow_twins") and arguments of its class;
        - `optimizer`: `name` ("adamw", "sgd", "lars"), `learning_rate`,
          `scale_with_batch` (multiply the rate by batch_size / 256),
          `warmup_epochs`, `predictor_rate` ("scheduled", or "constant" for
          the peak rate throughout) and arguments of the optimizer's class;
        - `monitor`: kNN during training: `every` epochs (0: never), `k`, and
          `num_examples` of each split that it uses.

        The sections with arguments can be extended, or replaced as a whole;
        `validate` checks their keys.

    Example:
    ```python
    import minc_tf

    config = minc_tf.training.default_config()
    config.epochs = 3
    config.objective = dict(name="minc", dim=64, triangular=False)
    ```
    """
    # One placeholder for each: a shared one would be one shared setting.
    config = ConfigDict(
        {
            "seed": 0,
            "batch_size": 256,
            "epochs": 10,
            "micro_batches": 1,
            "precision": "float32",
            "jit_compile": False,
            "strategy": "default",
            "distribute": {
                "devices": config_dict.placeholder(object),
                "tpu": config_dict.placeholder(str),
                "port": 8888,
                "join_timeout": 300,
            },
            "checkpoint": {"every_steps": 0, "max_to_keep": 2},
            "data": {
                "name": "shapes",
                "data_dir": config_dict.placeholder(str),
                "split": "train",
                "labelled_split": config_dict.placeholder(str),
                "test_split": _optional("test"),
                "image_size": config_dict.placeholder(int),
                "skip_bad": False,
                "num_examples": config_dict.placeholder(int),
                "classes": config_dict.placeholder(object),
                "service": config_dict.placeholder(str),
            },
            "views": {"preset": "simclr", "size": 32},
            "encoder": {"name": "small_resnet"},
            "projector": {"widths": (512, 128)},
            "predictor": {},
            "target": {
                "momentum": config_dict.placeholder(float),
                "schedule": "cosine",
            },
            "objective": {"name": "minc", "dim": 128},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-3,
                "scale_with_batch": False,
                "warmup_epochs": 1,
                "predictor_rate": "scheduled",
            },
            "monitor": {"every": 1, "k": 20, "num_examples": 2000},
        }
    )
    config.lock()
    for section in _EXTENSIBLE:
        config[section].unlock()
    return config


def _optional(text):
    """A string setting that may also be None."""
    reference = config_dict.placeholder(str)
    reference.set(text)
    return reference


def validate(config: ConfigDict) -> None:
    """Checks a run's settings before any work starts.

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
    _check_choice("strategy", config.strategy, STRATEGIES)
    _check_smallest(config, 1, "checkpoint.max_to_keep")
    _check_smallest(config, 0, "checkpoint.every_steps")
    _check_smallest(config, 1, "distribute.port", "distribute.join_timeout")
    if config.batch_size % config.micro_batches:
        raise ValueError(
            f"config.micro_batches={config.micro_batches} must divide "
            f"config.batch_size={config.batch_size}."
        )
    precisions = ("float32", "mixed_bfloat16", "mixed_float16")
    _check_choice("precision", config.precision, precisions)
    fields = ("size", *SMALL_CROPS, *view_fields())
    _check_arguments("views", config.views, view_presets(), fields, ["size"])
    _check_small_crops(config)
    # Other encoders come from libraries, whose functions check for themselves.
    if config.encoder.get("name") in _ENCODERS:
        _check_arguments("encoder", config.encoder, _ENCODERS)
    _check_arguments("objective", config.objective, OBJECTIVES)
    own = OPTIMIZER_SETTINGS
    _check_arguments("optimizer", config.optimizer, OPTIMIZERS, own, own[:3])
    rate = config.optimizer.get("learning_rate")
    if not isinstance(rate, (int, float)) or not rate > 0:
        raise ValueError(
            "config.optimizer.learning_rate must be a positive float; "
            f"received {rate!r}."
        )
    warmup = config.optimizer.get("warmup_epochs")
    if not isinstance(warmup, (int, float)) or not warmup >= 0:
        raise ValueError(
            "config.optimizer.warmup_epochs must not be negative; received "
            f"{warmup!r}."
        )
    _check_heads(config)


def _check_smallest(config, smallest, *keys):
    """Ints that must not be less than `smallest`, keys with their section."""
    for key in keys:
        value = config
        for part in key.split("."):
            value = value[part]
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(
                f"config.{key} must be an int; received {value!r}."
            )
        if value < smallest:
            raise ValueError(
                f"config.{key} must be {smallest} or more; received {value}."
            )


def _check_small_crops(config):
    count = config.views.get("small_crops", 0)
    if not isinstance(count, int) or count < 0:
        raise ValueError(
            "config.views.small_crops must be an int, 0 or more; received "
            f"{count!r}."
        )
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


def _check_heads(config):
    """Projector, predictor, target, and what they must have in common."""
    widths = _check_head("projector", config.projector)
    rate = config.optimizer.get("predictor_rate", "scheduled")
    rates = ("scheduled", "constant")
    _check_choice("optimizer.predictor_rate", rate, rates)
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
    _check_choice("target.schedule", config.target.schedule, schedules)
    momentum = config.target.momentum
    if momentum is not None and not 0.0 <= momentum <= 1.0:
        raise ValueError(
            "config.target.momentum must be in [0, 1], or None for no target "
            f"network; received {momentum!r}."
        )
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


def view_presets() -> dict:
    """The presets of `minc_tf.augment`, by name."""
    from minc_tf.augment import presets

    names = ("simclr", "byol", "simsiam", "mio")
    return {name: getattr(presets, name) for name in names}


def view_fields() -> list[str]:
    """The fields of a view's distribution."""
    from minc_tf import augment

    return [f.name for f in dataclasses.fields(augment.ViewConfig)]


def arguments(section: ConfigDict, *without: str) -> dict:
    """The arguments of a section, without its name and `without`."""
    skipped = {"name", "preset", *without}
    return {k: v for k, v in section.to_dict().items() if k not in skipped}


def to_json(config: ConfigDict) -> str:
    """The settings as JSON, the form in which a run's folder keeps them."""
    return json.dumps(config.to_dict(), indent=2) + "\n"


def _check_arguments(section, config, choices, own=(), required=()):
    """A section with a name: the name, then the arguments of what it names."""
    label = "preset" if section == "views" else "name"
    name = config.get(label)
    _check_choice(f"{section}.{label}", name, choices)
    taken = (*own, "name", *_FILLED_IN)
    parameters = [
        p
        for p in inspect.signature(choices[name]).parameters.values()
        if p.kind != p.VAR_KEYWORD and p.name not in taken
    ]
    allowed = [label, *own, *(p.name for p in parameters)]
    needed = [p.name for p in parameters if p.default is p.empty]
    _check_keys(section, config, allowed, [label, *required, *needed])


def _check_choice(key, value, choices):
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        raise ValueError(
            f"config.{key} must be one of {', '.join(choices)}; received "
            f"{value!r}" + (f"; did you mean {near[0]!r}?" if near else ".")
        )


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
