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
    """The settings that the manifest of an export tells.

    Args:
        encoder: the export.

    Returns:
        The validated settings; None where there are none.

    Raises:
        ValueError: if they are not the settings of a run.
    """
    recipe = (encoder.manifest or {}).get("recipe")
    if recipe is None:
        return None
    config = ConfigDict(complete(ConfigDict(recipe)))
    training.validate(config)
    return config


def recipe_splits(config: ConfigDict | None, encoder: SavedEncoder) -> tuple:
    """The labelled splits of a recipe.

    Args:
        config: the settings; None where nothing tells them.
        encoder: the export, for the message.

    Returns:
        (train, test): two `minc_tf.data.ImageSource`.

    Raises:
        ValueError: if there are no settings, or the splits have no labels.
        FileNotFoundError: if the data do not exist.
    """
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
    """The splits of another data set, in the size of a model's images.

    Args:
        name: str, of the data set, as `minc_tf.data.load` takes it.
        data_dir: where it is.
        names: of the split to train on and that to test on.
        image_shape: (H, W, 3), in pixels; of any size if that is unknown.
        seed: int.
        max_pixels: int, the most pixels of an image.

    Returns:
        (train, test): two `minc_tf.data.ImageSource`.

    Raises:
        ValueError: if there is no such data set, or it cannot be resized.
        FileNotFoundError: if it does not exist.
    """
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
    """Pairs of views of a recipe's training images, other ones than trained on.

    Args:
        config: the settings.
        count: int, how many pairs; rounded up to whole batches.

    Returns:
        A finite `tf.data.Dataset` of batches `(view1, view2)`.
    """
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
