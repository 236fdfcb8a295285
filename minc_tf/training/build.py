"""From a run's settings to its data, views, model and optimizer."""

import dataclasses
import inspect

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from minc_tf import data, models, optimizers
from minc_tf.training import config as settings
from minc_tf.training.strategies import make_strategy


def build_strategy(config: ConfigDict) -> tf.distribute.Strategy:
    """The strategy of a run, for its batch.

    Args:
        config: the run's settings.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        ValueError: if the batch cannot be shared by the replicas, or a
            setting does not work on them.
        TimeoutError: if a worker does not join.
        ConnectionError: if there is no such TPU.
    """
    strategy = make_strategy(config.strategy, **config.distribute.to_dict())
    count = strategy.num_replicas_in_sync
    unit = count * config.micro_batches
    if config.batch_size % unit:
        nearest = unit * max(1, round(config.batch_size / unit))
        parts = f" in {config.micro_batches} micro-batches each"
        raise ValueError(
            f"config.batch_size={config.batch_size} cannot be shared by "
            f"{count} replicas{parts * (config.micro_batches > 1)}; the "
            f"nearest that can is {nearest}."
        )
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    if on_tpu and config.precision == "mixed_float16":
        raise ValueError(
            "config.precision='mixed_float16' does not work on a TPU; use "
            "'mixed_bfloat16'."
        )
    if config.jit_compile and count > 1 and not on_tpu:
        raise ValueError(
            f"config.jit_compile=True does not work on {count} replicas "
            f"(config.strategy={config.strategy!r}); set it to False."
        )
    return strategy


def build_batches(
    config: ConfigDict, strategy: tf.distribute.Strategy, source, views, step
):
    """The batches of a run, shared by the replicas of a strategy.

    Args:
        config: the run's settings.
        strategy: `tf.distribute.Strategy`.
        source: `minc_tf.data.ImageSource`.
        views: `minc_tf.augment.MultiView`, not used where the model makes the
            views.
        step: int, the first step.

    Returns:
        An endless data set; on several replicas a distributed one, in which
        the parts of a step, one after another, are the batch of one device.
    """

    def batches(num_shards=1, shard=0):
        place = {
            "seed": config.seed,
            "start_step": step,
            "num_shards": num_shards,
            "shard": shard,
        }
        if config.augment.where == "device":
            return data.image_batches(source, config.batch_size, **place)
        service = config.data.service or None
        return data.view_batches(
            source, views, config.batch_size, service=service, **place
        )

    if strategy.num_replicas_in_sync == 1:
        return batches()
    part = config.batch_size // strategy.num_replicas_in_sync

    def share(context):
        dataset = batches(
            context.num_input_pipelines, context.input_pipeline_id
        )
        return dataset.rebatch(part, drop_remainder=True)

    return strategy.distribute_datasets_from_function(share)


def build_sources(config: ConfigDict) -> tuple:
    """Loads the images that a run trains on and is monitored with.

    Args:
        config: the run's settings.

    Returns:
        (train, reference, test): three `minc_tf.data.ImageSource`: training
        images in the size of `data.image_size`, the same (or those of
        `data.labelled_split`) and test images in the size of the views.
        `test` is None where `data.test_split` is.

    Raises:
        ValueError: if the images that are not cropped differ from the views
            in size, or a batch is larger than the data set.
        FileNotFoundError: if the data do not exist.
    """
    train = build_train_source(config)
    if config.batch_size > len(train):
        raise ValueError(
            f"config.batch_size={config.batch_size} is larger than the data "
            f"set: {len(train)} images in {train.name}/{train.split}."
        )
    size, reference, test = config.views.size, train, None
    labelled = config.data.labelled_split
    if labelled or train.image_shape[:2] != (size, size):
        reference = _load_uncropped(config, labelled or config.data.split)
    if config.data.test_split:
        test = _load_uncropped(config, config.data.test_split)
    return train, reference, test


def build_train_source(config: ConfigDict) -> data.ImageSource:
    """Loads the images that a run trains on.

    Args:
        config: the run's settings.

    Returns:
        A `minc_tf.data.ImageSource`; its images differ in size where the
        data do and `data.image_size` is None.

    Raises:
        ValueError: if the data do not fit the settings.
        FileNotFoundError: if the data do not exist.
    """
    source = _load(config, config.data.split, config.data.image_size)
    if source.varies and config.augment.where == "device":
        raise ValueError(
            "config.augment.where='device' needs images of one size, and "
            f"those of {source.name}/{source.split} differ; set "
            "config.data.image_size."
        )
    return source


def build_evaluation_sources(config: ConfigDict) -> tuple:
    """Loads the labelled images that an encoder is evaluated on.

    Args:
        config: the run's settings.

    Returns:
        (train, test): two `minc_tf.data.ImageSource` of images in the size
        of the views.

    Raises:
        ValueError: if the images cannot have that size, or have no labels.
        FileNotFoundError: if the data do not exist.
    """
    if not config.data.test_split:
        raise ValueError(
            "config.data.test_split must name a labelled split to evaluate "
            f"on; received {config.data.test_split!r}."
        )
    sources = tuple(
        _load_uncropped(config, split)
        for split in (
            config.data.labelled_split or config.data.split,
            config.data.test_split,
        )
    )
    for source in sources:
        if source.class_names is None:
            raise ValueError(
                f"{source.name}/{source.split} has no labels to evaluate "
                "with; set config.data.labelled_split (or config.data.split) "
                "and config.data.test_split to labelled splits."
            )
    return sources


def _load(config, split, image_size):
    section = config.data
    capped = section.num_examples if split == section.split else None
    return data.load(
        section.name,
        split,
        data_dir=section.data_dir,
        image_size=image_size,
        skip_bad=section.skip_bad,
        seed=config.seed,
        num_examples=capped,
        classes=section.classes,
    )


def _load_uncropped(config, split):
    """Images as the encoder sees them without a crop: as large as a view."""
    size, resized = config.views.size, config.data.image_size
    source = _load(config, split, resized and size)
    if source.varies:
        source = _load(config, split, size)
    if source.image_shape[:2] != (size, size):
        raise ValueError(
            f"config.views.size={size} differs from the images of "
            f"{source.name}/{source.split}, {source.image_shape[:2]}; set "
            f"config.views.size={source.image_shape[0]}, or "
            "config.data.image_size where the images can be resized."
        )
    return source


def build_views(config: ConfigDict):
    """The layer that makes the views of a run in the input pipeline.

    Where training makes its views on the device it shows what they are like.

    Args:
        config: the run's settings.

    Returns:
        A `minc_tf.augment.MultiView`.
    """
    from minc_tf import augment

    configs, size = _view_configs(config)
    return augment.MultiView(configs, size=size, seed=config.seed)


def _device_views(config):
    """The layer that makes the views in the train step, or None."""
    from minc_tf import augment

    if config.augment.where == "input":
        return None
    configs, size = _view_configs(config)
    return augment.TwoViews(configs, size, seed=config.seed)


def _view_configs(config):
    """The distributions of the views, and their size or sizes."""
    from minc_tf.augment import presets

    preset = settings.view_presets()[config.views.preset]
    given = settings.arguments(config.views)
    crops = {k: given.pop(k) for k in settings.SMALL_CROPS if k in given}
    known = inspect.signature(preset).parameters
    fields = {k: given.pop(k) for k in list(given) if k not in known}
    configs = [dataclasses.replace(c, **fields) for c in preset(**given)]
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
    projector = models.mlp(
        encoder.output_shape[-1], **settings.arguments(config.projector)
    )
    objective = settings.OBJECTIVES[config.objective.name](
        **settings.arguments(config.objective)
    )
    cls = (
        models.MINCModel
        if config.objective.name == "minc"
        else models.TwoViewModel
    )
    predictor = None
    if config.predictor:
        predictor = models.mlp(
            projector.output_shape[-1],
            name="predictor",
            **settings.arguments(config.predictor),
        )
    return cls(
        encoder,
        projector,
        objective,
        predictor=predictor,
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

    def make(rate, name):
        optimizer = settings.OPTIMIZERS[section.name](
            learning_rate=rate, name=name, **given
        )
        if section.name != "lars":  # LARS excludes by rank itself
            optimizer.exclude_from_weight_decay(
                var_list=[v for v in model.trainable_variables if v.ndim <= 1]
            )
        return optimizer

    scheduled = make(rate, section.name)
    if section.get("predictor_rate", "scheduled") == "scheduled":
        return scheduled
    constant = make(section.learning_rate * scale, "predictor")
    by_path = {v.path: constant for v in model.predictor.trainable_variables}
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(scheduled, by_path)
    )
