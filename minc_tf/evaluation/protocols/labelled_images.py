"""Labelled images to train on: few of them, some held out, in batches."""

import numpy as np
import tensorflow as tf

from minc_tf.data import ImageSource
from minc_tf.data.checks import check_seed
from minc_tf.data.source import to_host
from minc_tf.evaluation.checks import check_classes, check_labels


def labelled_fraction(
    labels: np.ndarray, fraction: float, seed: int = 0
) -> np.ndarray:
    """Choose a part of the labelled images, the same part of every class.

    Of a class of n images `round(fraction * n)` are drawn, at least one. With
    one seed, what a smaller fraction chooses a larger one chooses, too.

    Args:
        labels: integer array (N,), class indices from 0.
        fraction: float in (0, 1], such as 0.01 or 0.1.
        seed: int >= 0.

    Returns:
        Sorted int64 array of indices below N.

    Raises:
        TypeError: the labels are not integers.
        ValueError: `fraction` or `seed` is out of range, or labels are missing.

    Example:
    ```python
    labels = minc_tf.data.load("shapes", num_examples=1000).labels
    len(minc_tf.evaluation.labelled_fraction(labels, 0.05))  # 50, 5 a class
    ```

    Source: the semi-supervised protocol of SimCLR, arXiv 2002.05709,
    section 6.
    """
    labels = check_labels("labels", labels, len(labels))
    check_seed("seed", seed)
    if not 0 < fraction <= 1:
        raise ValueError(
            f"fraction must be above 0 and at most 1, received {fraction!r}"
        )
    return np.sort(
        np.concatenate(
            [
                rows[: max(1, round(fraction * len(rows)))]
                for rows in _shuffled_classes(labels, seed)
            ]
        )
    )


def hold_out_of_classes(
    labels: np.ndarray, part: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split labelled samples in two, the same way in every class.

    Returns sorted indices, those kept and those held out. A class of two
    samples or more has one on both sides; a single sample is kept.
    """
    kept, held = [], []
    for rows in _shuffled_classes(labels, seed):
        count = min(max(1, round(part * len(rows))), len(rows) - 1)
        held.append(rows[:count])
        kept.append(rows[count:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held))


def check_splits(
    train: ImageSource, test: ImageSource, image_shape: tf.TensorShape
) -> tuple[np.ndarray, np.ndarray, int]:
    """Check that two splits can train and test a classifier on an encoder.

    Returns the labels, int64 (N,) and (M,), and the number of classes; no image
    is read.
    """
    for name, source in (("train", train), ("test", test)):
        if not isinstance(source, ImageSource):
            raise TypeError(
                f"{name} must be a minc_tf.data.ImageSource, received "
                f"{type(source).__name__}"
            )
        fits = tf.TensorShape(image_shape).is_compatible_with
        if source.varies or not fits(source.image_shape):
            raise ValueError(
                f"{name} must hold images of shape {tuple(image_shape)}, which "
                f"the model was built for, received {source.image_shape} in "
                f"{source.name}/{source.split}"
            )
    train_y = check_labels("labels of train", train.labels, len(train))
    test_y = check_labels("labels of test", test.labels, len(test))
    return train_y, test_y, check_classes("labels of train", train_y)


def row_batches(
    rows: np.ndarray, batch_size: int, *, epochs: int, seed: int
) -> tf.data.Dataset:
    """Return the rows (n,) in random order, in int64 batches (batch_size,).

    Every epoch takes each row once, in an order of its own. Batches run across
    the border of two epochs; what is left of the last one makes none.
    """
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

    float32 (batch_size, H, W, 3), 0..255, and int64 (batch_size,). The crop and
    flip of an image are a function of the seed, the epoch and its index.
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
    """Build the augmentation that linear evaluation and fine-tuning use.

    A random crop, resized back, and a flip with probability 0.5; no colours. A
    crop keeps 0.08 to 1 of the area (arXiv 2002.05709, appendix B.5), of images
    below 64 pixels 0.2 to 1 (arXiv 2106.04156, on CIFAR-10).
    """
    # Here, because it imports keras-cv.
    from minc_tf.augment import MultiView, ViewConfig

    size = tuple(image_shape[:2])
    area = (0.08 if min(size) >= 64 else 0.2, 1.0)
    config = ViewConfig(area=area, jitter_p=0.0, grey_p=0.0, blur_p=0.0)
    return MultiView([config], size)


def _shuffled_classes(labels, seed):
    """Yield the rows of each class, in random order."""
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        yield np.random.default_rng([seed, label]).permutation(rows)
