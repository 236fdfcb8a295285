"""Labelled images to train on, in batches, cropped and flipped."""

import numpy as np
import tensorflow as tf

from minc_tf.data import ImageSource
from minc_tf.data.source import to_host
from minc_tf.evaluation.checks import check_classes, check_labels


def check_splits(
    train: ImageSource, test: ImageSource, image_shape: tf.TensorShape
) -> tuple[np.ndarray, np.ndarray, int]:
    """Check splits, reading no image; return labels (N,), (M,) and classes."""
    for name, source in (("train", train), ("test", test)):
        if not isinstance(source, ImageSource):
            raise TypeError(
                f"{name} must be a minc_tf.data.ImageSource; received "
                f"{type(source).__name__}"
            )
        fits = tf.TensorShape(image_shape).is_compatible_with
        if source.varies or not fits(source.image_shape):
            raise ValueError(
                f"{name} must hold images of shape {tuple(image_shape)}, which "
                f"the model was built for; received {source.image_shape} in "
                f"{source.name}/{source.split}"
            )
    train_y = check_labels("labels of train", train.labels, len(train))
    test_y = check_labels("labels of test", test.labels, len(test))
    return train_y, test_y, check_classes("labels of train", train_y)


def row_batches(
    rows: np.ndarray, batch_size: int, *, epochs: int, seed: int
) -> tf.data.Dataset:
    """Batch rows, int64, shuffled anew each epoch; batches cross epochs."""
    rows = to_host(np.asarray(rows, np.int64))

    def shuffled_rows(epoch):
        key = tf.stack([tf.constant(seed, tf.int64), epoch])
        shuffled = tf.random.experimental.stateless_shuffle(rows, key)
        return tf.data.Dataset.from_tensor_slices(shuffled)

    stream = tf.data.Dataset.range(epochs).flat_map(shuffled_rows)
    return stream.batch(batch_size, drop_remainder=True)


def labelled_batches(
    source: ImageSource,
    rows: np.ndarray,
    batch_size: int,
    *,
    epochs: int,
    seed: int,
    augment: bool,
) -> tf.data.Dataset:
    """Return `(images, labels)` to train on, in the order of `row_batches`.

    Images are float32, 0..255; views depend on seed, epoch and index alone.
    """
    views = crop_and_flip(source.image_shape) if augment else None

    def prepare(step, batch):
        images = tf.cast(batch["image"], tf.float32)
        if views is not None:
            position = step * batch_size + tf.range(batch_size, dtype=tf.int64)
            draw = position // len(rows) * len(source) + batch["index"]
            pairs = tf.stack(
                [tf.fill([batch_size], tf.cast(seed, tf.int64)), draw], -1
            )
            (images,) = views(
                {"images": batch["image"], "augmentation_seed": pairs}
            )
        return images, batch["label"]

    indices = row_batches(rows, batch_size, epochs=epochs, seed=seed)
    batches = source.batches(indices.unbatch(), batch_size, drop_remainder=True)
    steps = tf.data.Dataset.zip(tf.data.Dataset.counter(), batches)
    return steps.map(
        prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    ).prefetch(tf.data.AUTOTUNE)


def crop_and_flip(image_shape: tuple[int, int, int]):
    """Build the crop and flip of linear evaluation and fine-tuning.

    Areas: arXiv 2002.05709, appendix B.5; below 64 pixels 2106.04156, CIFAR-10.
    """
    # Here, because it imports keras-cv.
    from minc_tf.augment import MultiView, ViewConfig

    size = tuple(image_shape[:2])
    area = (0.08 if min(size) >= 64 else 0.2, 1.0)
    config = ViewConfig(area=area, jitter_p=0.0, grey_p=0.0, blur_p=0.0)
    return MultiView([config], size)
