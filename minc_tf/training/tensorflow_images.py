"""What feeds a run on TensorFlow: data pipelines, which make the views."""

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from minc_tf import augment, data
from minc_tf.training.from_settings import view_configs
from minc_tf.training.source_checks import check_batch_size, check_view_size


class PipelineImages:
    """The images of a run (`minc_tf.data.ImageSource`), and its views.

    `reference` is `train` or `data.labelled_split`, in the size of the views;
    `test` may be None.
    """

    def __init__(self, config: ConfigDict, devices):
        self.config = config
        self._strategy = devices.strategy
        self._views = build_views(config)
        self.train, self.reference, self.test = load_sources(config)

    def check(self) -> None:
        """Raise where a service does not answer, or cannot read the images."""
        if self.config.data.service:
            self.batches(0)

    def batches(self, first_step: int):
        """The endless batches of the run, shared by its replicas."""
        return shared_batches(
            self.config, self._strategy, self.train, self._views, first_step
        )

    def examples(self, source) -> tf.data.Dataset:
        """All images and labels of a source, as `extract` takes them."""
        return data.eval_batches(source, 256)

    def view_pairs(self, source, batch_size: int, count: int):
        """So many batches of views of a source, the same at each pass."""
        seed = self.config.seed + 1
        pairs = data.view_batches(source, self._views, batch_size, seed=seed)
        return pairs.take(count)

    def draw_views(self, count: int) -> tuple:
        """Draw the views of images in two epochs: (images, first, later)."""
        drawn = [
            draw_views(self.train, self._views, count, self.config.seed, epoch)
            for epoch in (0, 1)
        ]
        (images, first), (_, later) = drawn
        return images, first, later


def shared_batches(
    config: ConfigDict, strategy: tf.distribute.Strategy, source, views, step
):
    """The batches of a run from a step on, shared by its replicas.

    The parts of a step are each the batch of one device, one after another.
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


def load_sources(config: ConfigDict) -> tuple:
    """Load (train, reference, test) of a run, as `PipelineImages` has them."""
    train = load_train_source(config)
    check_batch_size(config, train)
    size, reference, test = config.views.size, train, None
    labelled = config.data.labelled_split
    if labelled or train.image_shape[:2] != (size, size):
        reference = _load_uncropped(config, labelled or config.data.split)
    if config.data.test_split:
        test = _load_uncropped(config, config.data.test_split)
    return train, reference, test


def load_train_source(config: ConfigDict) -> data.ImageSource:
    """Load the images that a run trains on, of one size or of many."""
    source = _load(config, config.data.split, config.data.image_size)
    if source.varies and config.augment.where == "device":
        raise ValueError(
            "config.augment.where='device' needs images of one size, and "
            f"those of {source.name}/{source.split} differ; set "
            "config.data.image_size."
        )
    return source


def load_evaluation_sources(config: ConfigDict) -> tuple:
    """Load (train, test), labelled images in the size of the views."""
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
    """A run's `MultiView`; where the device makes views, only to show them."""
    configs, size = view_configs(config)
    return augment.MultiView(configs, size=size, seed=config.seed)


def draw_views(source, views, count: int, seed: int, epoch: int) -> tuple:
    """The first images, in the size of a view, and their views of an epoch."""
    images = [source.at(index)["image"] for index in range(count)]
    draws = epoch * len(source) + np.arange(count)
    seeds = np.stack([np.full(count, seed), draws], axis=1)
    if source.varies:
        crops = [
            views.crop(image, row)
            for image, row in zip(images, seeds, strict=True)
        ]
        stacked = tuple(map(tf.stack, zip(*crops, strict=True)))
        made = views.finish(stacked, seeds)
    else:
        made = views({"images": tf.stack(images), "augmentation_seed": seeds})
    size = made[0].shape[1:3]
    shown = [tf.image.resize(image, size, antialias=True) for image in images]
    return np.stack(shown), [np.asarray(view) for view in made]
