"""From a run's settings to its data, views, model and optimizer."""

import keras
from ml_collections import ConfigDict

from minc_tf import data, models, optimizers
from minc_tf.training import config as settings


def build_sources(config: ConfigDict) -> tuple:
    """Loads the training and the test images of a run.

    Args:
        config: the run's settings.

    Returns:
        (train, test): two `minc_tf.data.ImageSource`; test images have the
        size of the views.

    Raises:
        ValueError: if images that are not resized differ from the views.
        FileNotFoundError: if the data do not exist.
    """
    section = config.data
    options = {
        "data_dir": section.data_dir,
        "skip_bad": section.skip_bad,
        "seed": config.seed,
    }
    train = data.load(
        section.name,
        section.split,
        image_size=section.image_size,
        num_examples=section.num_examples,
        **options,
    )
    size = config.views.size
    resized = section.image_size is not None and section.image_size != size
    test = data.load(
        section.name,
        section.test_split,
        image_size=size if resized else section.image_size,
        **options,
    )
    if test.image_shape[:2] != (size, size):
        raise ValueError(
            f"config.views.size={size} differs from the images of "
            f"{test.name}/{test.split}, {test.image_shape[:2]}; set "
            f"config.views.size={test.image_shape[0]}, or "
            "config.data.image_size where the images can be resized."
        )
    if config.batch_size > len(train):
        raise ValueError(
            f"config.batch_size={config.batch_size} is larger than the data "
            f"set: {len(train)} images in {train.name}/{train.split}."
        )
    return train, test


def build_views(config: ConfigDict):
    """The layer that makes the views of a run.

    Args:
        config: the run's settings.

    Returns:
        A `minc_tf.augment.MultiView`.
    """
    from minc_tf import augment

    preset = settings.view_presets()[config.views.preset]
    configs = preset(**settings.arguments(config.views))
    return augment.MultiView(configs, size=config.views.size, seed=config.seed)


def build_model(config: ConfigDict) -> models.TwoViewModel:
    """The model of a run, built, with weights drawn from its seed.

    Args:
        config: the run's settings.

    Returns:
        A `TwoViewModel`, not compiled.
    """
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    shape = (config.views.size, config.views.size, 3)
    encoder = models.build_encoder(
        config.encoder.name, shape, **settings.arguments(config.encoder)
    )
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
    return cls(
        encoder, projector, objective, micro_batches=config.micro_batches
    )


def build_optimizer(
    config: ConfigDict, steps_per_epoch: int, model: models.TwoViewModel
) -> keras.Optimizer:
    """The optimizer of a run, with warm-up and cosine decay.

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
    rate = optimizers.warmup_cosine(
        section.learning_rate * scale,
        steps=config.epochs * steps_per_epoch,
        warmup_steps=int(section.warmup_epochs * steps_per_epoch),
    )
    own = ("learning_rate", "scale_with_batch", "warmup_epochs")
    optimizer = settings.OPTIMIZERS[section.name](
        learning_rate=rate, **settings.arguments(section, *own)
    )
    if section.name != "lars":  # LARS excludes by rank itself
        optimizer.exclude_from_weight_decay(
            var_list=[v for v in model.trainable_variables if v.ndim <= 1]
        )
    return optimizer
