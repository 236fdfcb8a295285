"""`tf.data` pipelines: batches of views to train on, images to evaluate.

The order of the images and the seeds of their views are pure functions of
the global position in the stream. Nothing is stored: a run that stopped goes
on with `start_step`.
"""

from collections.abc import Callable

import tensorflow as tf

from minc_tf.data.source import ImageSource, check_count, check_seed


def view_batches(
    source: ImageSource,
    views: Callable[[dict[str, tf.Tensor]], tuple[tf.Tensor, ...]],
    batch_size: int,
    *,
    seed: int = 0,
    start_step: int = 0,
) -> tf.data.Dataset:
    """Return an endless stream of batches of views.

    An epoch visits every image once, in an order of its own; batches run
    across the border of two epochs, so none is left out. Step `k` of the
    stream is the same whether the stream began at step 0 or at `k`.

    Args:
        source: `ImageSource`.
        views: callable that takes a dict of `"images"`, uint8
            `(B, H, W, 3)`, and `"augmentation_seed"`, int64 `(B, 2)`, and
            returns a tuple of two or more float tensors with a leading axis
            of `B`. Row `b` of the seed is `(seed, epoch * N + index)`: one
            epoch gives an image the same draw whatever the batch size.
        batch_size: int in `[1, N]`.
        seed: int >= 0, of the order and of the views.
        start_step: int >= 0, the number of batches to leave out.

    Returns:
        A `tf.data.Dataset` of tuples `(view1, view2)`, of static shape.

    Raises:
        TypeError: If `views` is not callable, or returns no tuple of views.
        ValueError: If the batch is larger than the data set, or an argument
            is out of range.

    Example:
    ```python
    def views(batch):
        images = tf.cast(batch["images"], "float32")
        return images, tf.reverse(images, [2])


    source = minc_tf.data.load("shapes")
    dataset = minc_tf.data.view_batches(source, views, 256)
    ```
    """
    check_count("batch_size", batch_size)
    check_seed("seed", seed)
    check_seed("start_step", start_step)
    if not callable(views):
        raise TypeError(
            "views must be a callable from a dict of images and seeds to a "
            f"tuple of views; received {views!r}"
        )
    num_examples = len(source)
    if batch_size > num_examples:
        raise ValueError(
            f"batch_size must be at most the {num_examples} examples of "
            f"{source.name}/{source.split}; received {batch_size}"
        )

    def place(step):
        position = step * batch_size + tf.range(batch_size, dtype=tf.int64)
        return position // num_examples, position % num_examples

    seeds = tf.fill([batch_size], tf.constant(seed, tf.int64))

    def shuffled_indices(step):
        epoch, position = place(step)

        # A batch meets two epochs at most. One seed a row would be padded
        # wrongly by TensorFlow (2.21).
        def order(epoch):
            return tf.random.experimental.index_shuffle(
                position, tf.stack([seeds[0], epoch]), num_examples - 1
            )

        first = epoch[0]
        return tf.where(epoch == first, order(first), order(first + 1))

    def make_views(step, batch):
        epoch, _ = place(step)
        draw = epoch * num_examples + batch["index"]
        outputs = views(
            {
                "images": batch["image"],
                "augmentation_seed": tf.stack([seeds, draw], axis=1),
            }
        )
        return _check_views(outputs, batch_size)

    steps = tf.data.Dataset.counter(start_step)
    indices = steps.map(shuffled_indices).unbatch()
    batches = source.batches(indices, batch_size, drop_remainder=True)
    dataset = tf.data.Dataset.zip(steps, batches).map(
        make_views, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return dataset.prefetch(tf.data.AUTOTUNE)


def eval_batches(source: ImageSource, batch_size: int) -> tf.data.Dataset:
    """Return every image once, in order, the last partial batch too.

    Args:
        source: `ImageSource`.
        batch_size: int.

    Returns:
        A `tf.data.Dataset` of dicts of `"image"`, uint8 `(b, H, W, 3)`, and
        `"label"`, int64 `(b,)`, -1 where there is none.

    Raises:
        ValueError: If `batch_size` is not a positive int.

    Example:
    ```python
    for batch in minc_tf.data.eval_batches(source, 256):
        features = encoder(tf.cast(batch["image"], "float32"))
    ```
    """
    return source.examples(batch_size).map(
        lambda batch: {"image": batch["image"], "label": batch["label"]}
    )


def _check_views(outputs, batch_size):
    if not isinstance(outputs, tuple | list) or len(outputs) < 2:
        raise TypeError(
            "views must return a tuple of two or more tensors; received "
            f"{type(outputs).__name__}"
        )
    checked = []
    for view in outputs:
        view = tf.convert_to_tensor(view)
        checked.append(tf.ensure_shape(view, [batch_size, *view.shape[1:]]))
    return tuple(checked)
