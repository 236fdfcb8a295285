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
    """The distributions of a run's views.

    Args:
        config: the run's settings.

    Returns:
        (configs, size): list of `ViewConfig`, one a view, and their size, or
        a list of sizes where they differ.

    Raises:
        ValueError: for a preset that gives something else, or an argument
            out of range.
    """
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
    """The model of a run, built, with weights drawn from its seed.

    On replicas it is called in the scope of their strategy.

    A target network follows with constant momentum until
    `target_momentum` has told how many steps there will be.

    Args:
        config: the run's settings.

    Returns:
        A `TwoViewModel`, not compiled.

    Raises:
        ValueError: for arguments that the parts do not take.
    """
    policy = keras.config.dtype_policy()
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    try:
        return _assemble(config)
    finally:
        keras.config.set_dtype_policy(policy)


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
    """The momentum of a run's target network, for `TwoViewModel`.

    Args:
        config: the run's settings.
        steps_per_epoch: int.

    Returns:
        A schedule, a float, or None for no target network.
    """
    momentum = config.target.momentum
    if momentum is None or config.target.schedule == "constant":
        return momentum
    return models.CosineMomentum(momentum, config.epochs * steps_per_epoch)


def build_optimizer(
    config: ConfigDict, steps_per_epoch: int, model: models.TwoViewModel
) -> keras.Optimizer:
    """The optimizer of a run, with warm-up and cosine decay.

    Warm-up takes at most half of the run.

    Args:
        config: the run's settings.
        steps_per_epoch: int.
        model: the built model; variables of rank one or less are excluded
            from weight decay.

    Returns:
        A Keras optimizer.
    """
    section = config.optimizer
    scale = config.batch_size / 256 if section.scale_with_batch else 1.0
    steps = config.epochs * steps_per_epoch
    rate = optimizers.warmup_cosine(
        section.learning_rate * scale,
        steps=steps,
        warmup_steps=min(
            int(section.warmup_epochs * steps_per_epoch), steps // 2
        ),
    )
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
    constant = make(section.learning_rate * scale, "predictor")
    by_path = {v.path: constant for v in model.predictor.trainable_variables}
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(scheduled, by_path)
    )
