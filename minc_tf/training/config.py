"""The settings of a run and their defaults."""

import dataclasses
import json

from ml_collections import ConfigDict, config_dict

from minc_tf.data.limits import MAX_PIXELS

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
FIXED_SECTIONS = (
    "data",
    "augment",
    "monitor",
    "diagnostics",
    "report",
    "target",
    "checkpoint",
    "distribute",
    "init",
)

#: Settings, or the sections of settings, that do not change what is trained.
MACHINE_SETTINGS = (
    "strategy",
    "distribute.",
    "checkpoint.",
    "data.service",
    "report.",
)

#: Where the views of training are made.
PLACES = ("input", "device")

STRATEGIES = ("default", "mirrored", "multiworker", "tpu", "auto")

#: What is done when the embeddings collapse.
ALARMS = ("warn", "stop", "raise", "off")

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
        - `init`: `init["from"]`, of whose encoder the run starts with the
          weights: the folder of a run, a `.keras` or `.weights.h5` file, an
          export (None: random ones);
        - `strategy` ("default", "mirrored", "multiworker", "tpu", "auto") and
          `distribute`, its `devices`, `tpu`, `port` and `join_timeout`: the
          arguments of `minc_tf.training.make_strategy`; on JAX "default",
          "mirrored" or "auto", and `devices`, how many;
        - `checkpoint`: `every_steps`, besides those at the end of epochs (0:
          none), and `max_to_keep`;
        - `data`: `name`, `data_dir`, `split`, `image_size`, `skip_bad`,
          `num_examples`, `classes` (a tuple of names, or the path of a file
          with one a line; see `minc_tf.data.load`), `max_pixels` (of an
          encoded image; a larger one is bad), `service` (addresses of
          tf.data services that make the views); for the kNN monitor and
          evaluation `labelled_split` (None: `split`) and `test_split` (None:
          no monitor); `holdout`, the part of `split` that is taken as the test
          split instead (None: 0.1 where a folder or file has no other split,
          0: nothing);
        - `views`: `preset` (one of `minc_tf.augment.presets.PRESETS`), `size`
          in pixels, the arguments of the preset, fields of
          `minc_tf.augment.ViewConfig` to set in all its views, and
          `small_crops`, a number of further views of `small_size` pixels and
          `small_area` (`minc_tf.augment.presets.multi_crop`);
        - `augment`: `where` the views of training are made, in the "input"
          pipeline, or on the "device" in the train step
          (`minc_tf.augment.TwoViews`);
        - `encoder`: `name` and arguments of `minc_tf.models.build_encoder`;
        - `projector`, `predictor`: arguments of `minc_tf.models.mlp`; with an
          empty `predictor` there is none;
        - `target`: `momentum` of the target network (None: no such network)
          and its `schedule`, "cosine" (to 1 at the end) or "constant";
        - `objective`: `name` (one of `minc_tf.objectives.OBJECTIVES`) and
          arguments of its class;
        - `optimizer`: `name` (one of `minc_tf.optimizers.OPTIMIZERS`),
          `learning_rate`, `scale_with_batch` (multiply the rate by
          batch_size / 256), `warmup_epochs`, `predictor_rate` ("scheduled",
          or "constant" for the peak rate throughout) and arguments of the
          optimizer's class;
        - `monitor`: kNN during training: `every` epochs (0: never), `k`, and
          `num_examples` of each split that it uses;
        - `diagnostics`: what `minc_tf.evaluation.DiagnosticsMonitor` measures,
          `every` epochs (0: never), on `num_examples` pairs of views, with
          the variance of the gradient over `gradient_batches` batches (0:
          not measured); `alarm`, what to do when the embeddings collapse:
          "warn", "stop", "raise" or "off";
        - `report`: `num_examples` on the map of the embeddings in
          `report.html` (0: no report).

        The sections with arguments can be extended, or replaced as a whole;
        `validate` checks their keys. What is named in them can also be your
        own: `"package.module:Name"` of an `Objective`, a `keras.Optimizer`, a
        function from `image_shape` to a Keras model, or one from `size` to
        `ViewConfig`s.

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
            "init": {"from": config_dict.placeholder(str)},
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
                "holdout": config_dict.placeholder(float),
                "image_size": config_dict.placeholder(int),
                "skip_bad": False,
                "max_pixels": MAX_PIXELS,
                "num_examples": config_dict.placeholder(int),
                "classes": config_dict.placeholder(object),
                "service": config_dict.placeholder(str),
            },
            "views": {"preset": "simclr", "size": 32},
            "augment": {"where": "input"},
            "encoder": {"name": "small_resnet"},
            "projector": {"widths": (512, 128)},
            "predictor": {},
            "target": {
                "momentum": config_dict.placeholder(float),
                "schedule": "cosine",
            },
            "objective": {"name": "minc", "dim": 128, "mu": 10.0},
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-3,
                "scale_with_batch": False,
                "warmup_epochs": 1,
                "predictor_rate": "scheduled",
            },
            "monitor": {"every": 1, "k": 20, "num_examples": 2000},
            "diagnostics": {
                "every": 1,
                "num_examples": 512,
                "gradient_batches": 0,
                "alarm": "warn",
            },
            "report": {"num_examples": 1000},
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
