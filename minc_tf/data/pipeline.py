"""`tf.data` pipelines: batches of views to train on, images to evaluate.

The order of the images and the seeds of their views are pure functions of
the global position in the stream. Nothing is stored: a run that stopped goes
on with `start_step`.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from minc_tf._checks import check_int, refusal
from minc_tf.data.service import (
    check_services,
    from_services,
    only_graph_code,
    parse_services,
)
from minc_tf.data.source import ImageSource

_PARALLEL = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}


def view_batches(
    source: ImageSource,
    views: Callable[[dict[str, tf.Tensor]], tuple[tf.Tensor, ...]],
    batch_size: int,
    *,
    seed: int = 0,
    start_step: int = 0,
    num_shards: int = 1,
    shard: int = 0,
    service: str | Sequence[str] | None = None,
) -> tf.data.Dataset:
    """Return an endless stream of batches of views.

    An epoch visits every image once, in an order of its own; batches run
    across the border of two epochs, so none is left out. Step `k` of the
    stream is the same whether the stream began at step 0 or at `k`.

    Images that differ in size are decoded once and cropped one by one, and
    the crops finished in batches. For that `views` needs two methods, as
    `minc_tf.augment.MultiView` has: `crop(image, seed)` takes a uint8
    `(h, w, 3)` image and its int64 `(2,)` seed and returns a tuple of uint8
    crops; `finish(crops, seeds)` takes batches of these and returns the views.

    Args:
        source: `ImageSource`.
        views: callable that takes a dict of `"images"`, uint8
            `(B, H, W, 3)`, and `"augmentation_seed"`, int64 `(B, 2)`, and
            returns a tuple of two or more float tensors with a leading axis
            of `B`. Row `b` of the seed is `(seed, epoch * N + index)`: one
            epoch gives an image the same draw whatever the batch size.
        batch_size: int in `[1, N]`, of all shards together.
        seed: int >= 0, of the order and of the views.
        start_step: int >= 0, the number of batches to leave out.
        num_shards: int >= 1, the number of workers that share each batch.
        shard: int in `[0, num_shards)`, whose part to return: the parts of
            one step, one after another, are the batch of a single worker.
        service: str such as `"grpc://host:port"`, a dispatcher of the
            `tf.data` service, whose worker then makes the views; or several,
            separated by commas or in a sequence, that make the batches in
            turn. The stream stays the same. Each dispatcher must have one
            worker, and the workers find files under the same paths; `views`
            must be TensorFlow graph code. `None`: this process makes them.

    Returns:
        A `tf.data.Dataset` of tuples `(view1, view2)`, of static shape, with
        a leading axis of `batch_size / num_shards`. Its attribute
        `steps_per_epoch`, the number of full batches in the source, is what
        `fit` of this library's models takes for an epoch if not told
        otherwise; a plain `keras.Model` must be told.

    Raises:
        TypeError: If `views` is not callable, returns no tuple of views, or
            has no `crop` and `finish` for images that differ in size.
        ValueError: If the batch is larger than the data set or cannot be
            shared, an argument is out of range, or a service cannot be
            reached or cannot read the source.

    Example:
    ```python
    def views(batch):
        images = tf.cast(batch["images"], "float32")
        return images, tf.reverse(images, [2])


    source = minc_tf.data.load("shapes")
    dataset = minc_tf.data.view_batches(source, views, 256)
    ```
    """
    _check_callable(views, source)
    return _stream(
        source,
        views,
        batch_size,
        seed,
        start_step,
        num_shards,
        shard,
        service,
    )


def image_batches(
    source: ImageSource,
    batch_size: int,
    *,
    seed: int = 0,
    start_step: int = 0,
    num_shards: int = 1,
    shard: int = 0,
) -> tf.data.Dataset:
    """Return an endless stream of batches of images, for views made later.

    The images of a step, and their order, are those of `view_batches` with
    the same arguments.

    Args:
        source: `ImageSource` of images of one size.
        batch_size: see `view_batches`, as all others.
        seed: int >= 0, of the order.
        start_step: int >= 0, the number of batches to leave out.
        num_shards: int >= 1.
        shard: int in `[0, num_shards)`.

    Returns:
        A `tf.data.Dataset` of uint8 tensors of static shape, with a leading
        axis of `batch_size / num_shards`.

    Raises:
        ValueError: If the images differ in size, the batch is larger than the
            data set or cannot be shared, or an argument is out of range.

    Example:
    ```python
    source = minc_tf.data.load("shapes")
    dataset = minc_tf.data.image_batches(source, 256)
    ```
    """
    if source.varies:
        raise ValueError(
            f"source must have images of one size; those of {source.name}/"
            f"{source.split} differ: load them with image_size, or make the "
            "views with view_batches"
        )
    return _stream(
        source, None, batch_size, seed, start_step, num_shards, shard, None
    )


def eval_batches(source: ImageSource, batch_size: int) -> tf.data.Dataset:
    """Return every image once, in order, the last partial batch too.

    Args:
        source: `ImageSource`.
        batch_size: int.

    Returns:
        A `tf.data.Dataset` of dicts of `"image"`, uint8 `(b, H, W, 3)`, and
        `"label"`, int64 `(b,)`, -1 where there is none.

    Raises:
        ValueError: If `batch_size` is not a positive int, or the images
            differ in size.

    Example:
    ```python
    for batch in minc_tf.data.eval_batches(source, 256):
        features = encoder(tf.cast(batch["image"], "float32"))
    ```
    """
    return source.examples(batch_size).map(
        lambda batch: {"image": batch["image"], "label": batch["label"]}
    )


def _stream(
    source, views, batch_size, seed, start_step, num_shards, shard, service
):
    """Batches of views; of the images themselves if `views` is None."""
    check_int("batch_size", batch_size, 1)
    check_int("seed", seed, 0)
    check_int("start_step", start_step, 0)
    part = _part_size(batch_size, num_shards, shard)
    num_examples = len(source)
    if batch_size > num_examples:
        raise refusal(
            "batch_size",
            f"at most the {num_examples} examples of "
            f"{source.name}/{source.split}",
            batch_size,
        )
    if service is not None:
        addresses = parse_services(service)
        source = source.portable()
        check_services(addresses)

    def place(step):
        first = step * batch_size + shard * part
        position = first + tf.range(part, dtype=tf.int64)
        return position // num_examples, position % num_examples

    def shuffled_indices(step):
        epoch, position = place(step)

        # A batch meets two epochs at most. One seed a row would be padded
        # wrongly by TensorFlow (2.21).
        def order(epoch):
            return tf.random.experimental.index_shuffle(
                position,
                tf.stack([tf.constant(seed, tf.int64), epoch]),
                num_examples - 1,
            )

        first = epoch[0]
        return tf.where(epoch == first, order(first), order(first + 1))

    def draws(epoch, index):
        draw = epoch * num_examples + index
        return tf.stack(
            [tf.fill(tf.shape(draw), tf.constant(seed, tf.int64)), draw], -1
        )

    def crop(example, epoch):
        pair = draws(epoch, example["index"])
        return tuple(views.crop(example["image"], pair)), pair

    def finish(crops, pairs):
        return _check_views(views.finish(crops, pairs), part)

    def make_views(step, batch):
        pairs = draws(place(step)[0], batch["index"])
        outputs = views({"images": batch["image"], "augmentation_seed": pairs})
        return _check_views(outputs, part)

    def make(steps):
        indices = steps.map(shuffled_indices).unbatch()
        if source.varies:
            epochs = steps.map(lambda step: place(step)[0]).unbatch()
            images = tf.data.Dataset.zip(source.stream(indices), epochs)
            crops = images.map(crop, **_PARALLEL)
            crops = crops.batch(part, drop_remainder=True)
            return crops.map(finish, **_PARALLEL)
        batches = source.batches(indices, part, drop_remainder=True)
        if views is None:
            return batches.map(lambda batch: batch["image"], **_PARALLEL)
        dataset = tf.data.Dataset.zip(steps, batches)
        return dataset.map(make_views, **_PARALLEL)

    if service is None:
        dataset = make(tf.data.Dataset.counter(start_step))
    else:
        sent = (crop, finish, make_views)
        crop, finish, make_views = map(only_graph_code, sent)
        dataset = from_services(make, addresses, start_step)
    dataset = dataset.prefetch(tf.data.AUTOTUNE)
    dataset.steps_per_epoch = num_examples // batch_size
    return dataset


def _part_size(batch_size, num_shards, shard):
    """Return how much of a batch one shard gets."""
    check_int("num_shards", num_shards, 1)
    check_int("shard", shard, 0)
    if shard >= num_shards:
        raise refusal("shard", f"less than num_shards={num_shards}", shard)
    part, rest = divmod(batch_size, num_shards)
    if rest:
        nearest = num_shards * max(1, round(batch_size / num_shards))
        raise refusal(
            "batch_size",
            f"a multiple of num_shards={num_shards}",
            batch_size,
            f", the nearest is {nearest}.",
        )
    return part


def _check_callable(views, source):
    if not callable(views):
        raise TypeError(
            "views must be a callable from a dict of images and seeds to a "
            f"tuple of views; received {views!r}"
        )
    if source.varies and not (
        callable(getattr(views, "crop", None))
        and callable(getattr(views, "finish", None))
    ):
        raise TypeError(
            f"views must have the methods crop and finish, as MultiView has, "
            f"for the images of {source.name}/{source.split}, which differ in "
            f"size; received {type(views).__name__}; or load the images with "
            "image_size to resize and centre-crop them"
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
