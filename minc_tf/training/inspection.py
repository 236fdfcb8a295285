"""What a recipe feeds to the network: pictures, values, classes, speed."""

import os
import pathlib
import time

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from minc_tf import data
from minc_tf._checks import check_int
from minc_tf.training import pictures, tensorflow_images
from minc_tf.training.held_out import with_held_out
from minc_tf.training.validation import validate


def inspect(
    config: ConfigDict,
    directory: str | os.PathLike,
    *,
    batches: int = 20,
    images: int = 8,
) -> dict:
    """Look at the images and views of a recipe, without training.

    Args:
        config: the settings.
        directory: folder that gets `views.png`, a column an image: the image
            above its views.
        batches: int, batches over which speed and values are measured.
        images: int, images in the picture.

    Returns:
        dict of `data` (name, split, number and size of the images),
        `classes` (images by class, empty where there are no labels), `views`
        (for each its shape, smallest, mean and largest value, and standard
        deviation), `images_per_second` of the stages `decode` and `views`
        (everything up to the batch that the network gets), `skipped` and
        `picture`.

    Raises:
        ValueError: for settings or data that do not fit.
        FileNotFoundError: if the data do not exist.

    Example:
    ```python
    import minc_tf

    config = minc_tf.training.default_config()
    config.data.num_examples = 512
    report = minc_tf.training.inspect(config, "runs/look", batches=2)
    print(report["images_per_second"])
    ```
    """
    validate(config)
    config = with_held_out(config)
    check_int("batches", batches, 1)
    check_int("images", images, 1)
    layer = tensorflow_images.build_views(config)
    source = tensorflow_images.load_train_source(config)
    stream = data.view_batches(
        source, layer, config.batch_size, seed=config.seed
    )
    drawn, speed = _measure(stream, batches, config.batch_size)
    if config.augment.where == "device":  # then the network gets images
        stream = data.image_batches(source, config.batch_size, seed=config.seed)
        _, speed = _measure(stream, batches, config.batch_size)
    indices = tf.data.Dataset.range(len(source)).repeat()
    decoded = indices.map(source.at, num_parallel_calls=tf.data.AUTOTUNE)
    decoded = decoded.prefetch(tf.data.AUTOTUNE)
    _, decode_speed = _measure(decoded, batches * config.batch_size, 1)

    count = min(images, len(source))
    picture = pictures.view_pairs(
        *tensorflow_images.draw_views(
            source, layer, count, config.seed, epoch=0
        )
    )
    path = pictures.write_png(pathlib.Path(directory), "views", picture)
    names = source.class_names or ()
    known = source.labels[source.labels >= 0]
    counts = np.bincount(known, minlength=len(names))
    return {
        "data": {
            "name": source.name,
            "split": source.split,
            "images": len(source),
            "image_shape": list(source.image_shape),
        },
        "classes": dict(zip(names, map(int, counts), strict=True)),
        "views": [_values(view) for view in drawn],
        "images_per_second": {"decode": decode_speed, "views": speed},
        "skipped": [str(name) for name in source.skipped],
        "picture": str(path),
    }


def _measure(dataset, count, size):
    """The first element, and images a second over `count` further ones."""
    iterator = iter(dataset)
    # The first one compiles, and fills the queues.
    first = next(iterator)
    start = time.perf_counter()
    for _ in range(count):
        next(iterator)
    return first, count * size / (time.perf_counter() - start)


def _values(view):
    view = np.asarray(view)
    return {
        "shape": list(view.shape),
        "min": float(view.min()),
        "mean": float(view.mean()),
        "max": float(view.max()),
        "std": float(view.std()),
    }
