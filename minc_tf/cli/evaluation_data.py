"""The images that `minc-evaluate` evaluates on."""

import tensorflow as tf
from ml_collections import ConfigDict

from minc_tf import data, training
from minc_tf.data.limits import MAX_PIXELS
from minc_tf.evaluation import SavedEncoder
from minc_tf.training import tensorflow_images
from minc_tf.training.identity import complete

_BATCH = 256


def exported_config(encoder: SavedEncoder) -> ConfigDict | None:
    """Return the validated settings in an export's manifest, None for none."""
    recipe = (encoder.manifest or {}).get("recipe")
    if recipe is None:
        return None
    config = ConfigDict(complete(ConfigDict(recipe)))
    training.validate(config)
    return config


def recipe_splits(config: ConfigDict | None, encoder: SavedEncoder) -> tuple:
    """Return the labelled splits of a recipe, (train, test)."""
    if config is None:
        raise ValueError(
            "--config=RECIPE or --workdir=RUN must say which data to evaluate "
            f"on: the manifest of {encoder.path!r} holds no recipe."
        )
    return tensorflow_images.load_evaluation_sources(config)


def other_splits(
    name: str,
    data_dir: str | None,
    names: tuple[str, str],
    image_shape: tf.TensorShape,
    seed: int,
    max_pixels: int = MAX_PIXELS,
) -> tuple:
    """Load splits, (train, test) `names`, in the size of a model's images."""
    size = image_shape[:2]
    return tuple(
        data.load(
            name,
            split,
            data_dir=data_dir,
            image_size=tuple(size) if size.is_fully_defined() else None,
            seed=seed,
            max_pixels=max_pixels,
        )
        for split in names
    )


def view_pairs(config: ConfigDict, count: int) -> tf.data.Dataset:
    """Return batches of at least `count` view pairs that are new to a run."""
    source = tensorflow_images.load_train_source(config)
    size = min(_BATCH, len(source))
    batches = data.view_batches(
        source,
        tensorflow_images.build_views(config),
        size,
        seed=config.seed + 1,
    )
    # Of many crops the first two are those of full size.
    return batches.take(-(-count // size)).map(
        lambda one, other, *_: (one, other)
    )
