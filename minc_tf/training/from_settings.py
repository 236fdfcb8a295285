"""From a run's settings to its model and optimizer, on either backend."""

import dataclasses
import inspect

import keras
from ml_collections import ConfigDict

from minc_tf import augment, models, optimizers
from minc_tf.augment import ViewConfig, presets
from minc_tf.training import config as settings


def _device_views(config):
    """The layer that makes the views in the train step, or None."""
    if config.augment.where == "input":
        return None
    configs, size = view_configs(config)
    return augment.TwoViews(configs, size, seed=config.seed)


def view_configs(config: ConfigDict) -> tuple:
    """The distributions of a run's views, and their size or sizes."""
    preset = presets.PRESETS.find(config.views.preset, "config.views.preset")
    given = settings.arguments(config.views)
    crops = {k: given.pop(k) for k in settings.SMALL_CROPS if k in given}
    known = inspect.signature(preset).parameters
    fields = {k: given.pop(k) for k in list(given) if k not in known}
    fields.pop("size", None)
    configs = preset(**given)
    if not isinstance(configs, (list, tuple)) or not all(
        isinstance(each, ViewConfig) for each in configs
    ):
        raise ValueError(
            f"config.views.preset={config.views.preset!r} must give a tuple "
            f"of ViewConfig; it gave {configs!r}."
        )
    configs = [dataclasses.replace(each, **fields) for each in configs]
    size = config.views.size
    if crops.get("small_crops"):
        names = {"small_crops": "count", "small_area": "area"}
        configs, size = presets.multi_crop(
            configs, size, **{names.get(k, k): v for k, v in crops.items()}
        )
    return configs, size


def build_model(config: ConfigDict) -> models.TwoViewModel:
    """The `TwoViewModel` of a run, not compiled, with weights from its seed.

    Call it in the scope of a strategy. A target network's momentum is constant
    until it is told how many steps there will be.
    """
    policy = keras.config.dtype_policy()
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    try:
        return _assemble(config)
    finally:
        keras.config.set_dtype_policy(policy)


def build_compiled_model(
    config: ConfigDict, steps_per_epoch: int, jit_compile: bool
) -> models.TwoViewModel:
    """The same, ready to be trained for so many steps an epoch."""
    model = build_model(config)
    model.target_momentum = target_momentum(config, steps_per_epoch)
    model.compile(
        optimizer=build_optimizer(config, steps_per_epoch, model),
        jit_compile=jit_compile,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def _assemble(config):
    size = None if config.views.get("small_crops") else config.views.size
    shape = (size, size, 3)
    try:
        encoder = models.build_encoder(
            config.encoder.name, shape, **settings.arguments(config.encoder)
        )
    except TypeError as error:
        raise ValueError(f"config.encoder: {error}") from error
    return models.assemble(
        encoder,
        objective=config.objective.to_dict(),
        projector=config.projector.to_dict(),
        predictor=config.predictor.to_dict(),
        target_momentum=config.target.momentum,
        micro_batches=config.micro_batches,
        views=_device_views(config),
    )


def target_momentum(config: ConfigDict, steps_per_epoch: int):
    """The momentum of a run's target network: a schedule, a float or None."""
    momentum = config.target.momentum
    if momentum is None or config.target.schedule == "constant":
        return momentum
    return models.CosineMomentum(momentum, config.epochs * steps_per_epoch)


def peak_rate(config: ConfigDict) -> float:
    """The learning rate of a run after its warm-up."""
    section = config.optimizer
    scale = config.batch_size / 256 if section.scale_with_batch else 1.0
    return section.learning_rate * scale


def learning_rate(config: ConfigDict, steps_per_epoch: int):
    """The learning rate of a run; warm-up takes at most half of it."""
    steps = config.epochs * steps_per_epoch
    warmup = int(config.optimizer.warmup_epochs * steps_per_epoch)
    return optimizers.warmup_cosine(
        peak_rate(config), steps=steps, warmup_steps=min(warmup, steps // 2)
    )


def build_optimizer(
    config: ConfigDict, steps_per_epoch: int, model: models.TwoViewModel
) -> keras.Optimizer:
    """The optimizer of a run; variables of rank one or less do not decay."""
    section = config.optimizer
    rate = learning_rate(config, steps_per_epoch)
    given = settings.arguments(section, *settings.OPTIMIZER_SETTINGS)

    cls = optimizers.OPTIMIZERS.find(section.name, "config.optimizer.name")

    def make(rate, name):
        optimizer = cls(learning_rate=rate, name=name, **given)
        if not issubclass(cls, optimizers.LARS):  # it excludes by rank itself
            optimizer.exclude_from_weight_decay(
                var_list=[v for v in model.trainable_variables if v.ndim <= 1]
            )
        return optimizer

    scheduled = make(rate, section.name.rpartition(":")[2])
    if section.get("predictor_rate", "scheduled") == "scheduled":
        return scheduled
    constant = make(peak_rate(config), "predictor")
    by_path = {v.path: constant for v in model.predictor.trainable_variables}
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(scheduled, by_path)
    )
