"""From a run's settings to its strategy, data and views, on TensorFlow.

Model and optimizer need no TensorFlow; they are made in `parts`.
"""

import tensorflow as tf
from ml_collections import ConfigDict

from minc_tf import data
from minc_tf.training.parts import (
    build_model,
    build_optimizer,
    target_momentum,
    view_configs,
)
from minc_tf.training.source_checks import (
    check_batch_size,
    check_shares,
    check_view_size,
)
from minc_tf.training.strategies import make_strategy

__all__ = [
    "build_batches",
    "build_evaluation_sources",
    "build_model",
    "build_optimizer",
    "build_sources",
    "build_strategy",
    "build_train_source",
    "build_views",
    "target_momentum",
]


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
    check_shares(config, count)
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
    check_batch_size(config, train)
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
        max_pixels=section.max_pixels,
    )


def _load_uncropped(config, split):
    """Images as the encoder sees them without a crop: as large as a view."""
    size, resized = config.views.size, config.data.image_size
    source = _load(config, split, resized and size)
    if source.varies:
        source = _load(config, split, size)
    check_view_size(config, source)
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

    configs, size = view_configs(config)
    return augment.MultiView(configs, size=size, seed=config.seed)
