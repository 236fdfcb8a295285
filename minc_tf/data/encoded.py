"""Images that stay encoded until they are used: JPEG or PNG, bytes or files.

One decoder and one check serve the image folders and TensorFlow Datasets.
"""

import concurrent.futures
import itertools
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from minc_tf.data.source import ImageSource, check_count, to_host


class EncodedSource(ImageSource):
    """Images kept as encoded bytes or as files, decoded at each access.

    Args:
        items: sequence of bytes or str, the encoded images or their paths.
        labels: int array `(N,)`, or `None` for unlabelled images.
        image_shape: tuple `(H, W, 3)`; what has another size is resized and
            centre-cropped to it.
        files: bool, whether `items` are paths of files.
        name: str, for messages and summaries.
        split: str, for messages and summaries.
        class_names: sequence of str, or `None`.
        skipped: paths of unreadable files that were left out.

    Example:
    ```python
    source = minc_tf.data.EncodedSource(
        ["a.jpg", "b.png"], [0, 1], (224, 224, 3), files=True
    )
    ```
    """

    def __init__(
        self,
        items: Sequence[bytes | str],
        labels: np.ndarray | None,
        image_shape: tuple[int, int, int],
        *,
        files: bool,
        name: str = "encoded",
        split: str = "train",
        class_names: Sequence[str] | None = None,
        skipped: Sequence[str] = (),
        num_examples: int | None = None,
    ):
        super().__init__(
            labels,
            image_shape,
            name=name,
            split=split,
            class_names=class_names,
            skipped=skipped,
            num_examples=len(items),
        )
        self.files = files
        self._items = to_host(items)

    def _image_at(self, index):
        item = tf.gather(self._items, index)
        image = decode_rgb(tf.io.read_file(item) if self.files else item)
        return resize_and_crop(image, self.image_shape[:2])

    def _replace_rows(self, rows):
        return EncodedSource(
            tf.gather(self._items, to_host(rows)),
            image_shape=self.image_shape,
            files=self.files,
            **self._description(rows),
        )


def decode_rgb(contents: bytes | tf.Tensor) -> tf.Tensor:
    """Decode a JPEG or PNG image of any kind to RGB.

    Grey becomes RGB; transparent pixels are laid over white, as a page shows
    them; 16 bits are cut to 8.

    Args:
        contents: scalar string tensor.

    Returns:
        uint8 tensor `(h, w, 3)`.

    Example:
    ```python
    image = decode_rgb(tf.io.read_file("logo.png"))
    ```
    """
    image = tf.io.decode_image(contents, channels=0, expand_animations=False)
    channels = tf.shape(image)[-1]
    has_alpha = tf.logical_or(channels == 2, channels == 4)
    image = tf.cond(has_alpha, lambda: _over_white(image), lambda: image)
    channels = tf.shape(image)[-1]
    image = tf.cond(
        channels == 1, lambda: tf.repeat(image, 3, axis=-1), lambda: image
    )
    image.set_shape([None, None, 3])
    return image


def _over_white(image):
    image = tf.cast(image, tf.float32)
    alpha = image[..., -1:] / 255.0
    colour = image[..., :-1] * alpha + 255.0 * (1.0 - alpha)
    return tf.cast(tf.round(colour), tf.uint8)


def resize_and_crop(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Scale an image until it covers `size` and cuts out the centre.

    Args:
        image: uint8 tensor `(h, w, 3)`.
        size: tuple `(H, W)`.

    Returns:
        uint8 tensor `(H, W, 3)`; the image itself where it has that size.

    Example:
    ```python
    image = resize_and_crop(image, (224, 224))
    ```
    """
    shape = tf.shape(image)[:2]

    def change():
        scale = tf.reduce_max(tf.constant(size, tf.float64) / _float(shape))
        scaled = tf.cast(tf.round(scale * _float(shape)), tf.int32)
        scaled = tf.maximum(scaled, size)
        resized = tf.image.resize(image, scaled, antialias=True)
        top = (scaled - size) // 2
        patch = tf.slice(resized, [top[0], top[1], 0], [*size, 3])
        return tf.cast(tf.clip_by_value(tf.round(patch), 0, 255), tf.uint8)

    same = tf.reduce_all(shape == tf.constant(size))
    image = tf.cond(same, lambda: image, change)
    image.set_shape([*size, 3])
    return image


def _float(shape):
    return tf.cast(shape, tf.float64)


def parse_image_size(
    image_size: int | tuple[int, int] | None,
) -> tuple[int, int] | None:
    """Return `image_size` as `None` or a tuple `(H, W)`.

    Args:
        image_size: `None`, int for a square, or `(H, W)`.

    Raises:
        ValueError: If it is anything else.
    """
    if image_size is None:
        return None
    size = image_size if np.ndim(image_size) else (image_size, image_size)
    try:
        height, width = size
        check_count("image_size", height)
        check_count("image_size", width)
    except ValueError as error:
        raise ValueError(
            "image_size must be None, an int >= 1 or a pair (H, W); received "
            f"{image_size!r}"
        ) from error
    return int(height), int(width)


def check_images(
    items: Sequence[bytes | str],
    names: Sequence[str],
    *,
    files: bool,
    skip_bad: bool,
    where: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Decode every image once, so that a bad one is found before training.

    Args:
        items: sequence of bytes, or of paths when `files` is true.
        names: sequence of str, what to call the images in a message.
        files: bool, whether `items` are paths.
        skip_bad: bool, whether unreadable images are left out.
        where: str, the data set, for messages.

    Returns:
        A tuple `(sizes, good)`: int array `(len(items), 2)` of heights and
        widths, and bool array `(len(items),)`, false where an image cannot
        be read.

    Raises:
        ValueError: If an image cannot be read and `skip_bad` is false, or
            if none can.
    """

    def size_of(item):
        try:
            contents = tf.io.read_file(item) if files else item
            shape = tf.io.decode_image(contents, expand_animations=False).shape
        except (tf.errors.OpError, ValueError) as error:
            return (0, 0), _first_line(error)
        return tuple(shape[:2]), None

    with tf.device("CPU:0"):
        results = _map_threads(size_of, items)
    sizes = np.array([size for size, _ in results], np.int64).reshape(-1, 2)
    errors = [(i, e) for i, (_, e) in enumerate(results) if e is not None]
    if errors and (not skip_bad or len(errors) == len(items)):
        first, reason = errors[0]
        others = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
        advice = (
            "all of them, so there is nothing to skip"
            if len(errors) == len(items)
            else "repair or remove, or pass skip_bad=True to leave out"
        )
        raise ValueError(
            f"{where}: unreadable image {str(names[first])!r}{others} of "
            f"{len(items)} ({reason}); {advice}"
        )
    good = np.ones(len(items), bool)
    good[[i for i, _ in errors]] = False
    return sizes, good


def _map_threads(function, items):
    """Like `list(map(...))`, with threads and a bounded queue."""
    workers = min(32, 2 * (os.cpu_count() or 1))
    results = []
    remaining = iter(items)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        while chunk := list(itertools.islice(remaining, 4096)):
            results.extend(pool.map(function, chunk))
    return results


def _first_line(error):
    text = getattr(error, "message", None) or str(error)
    text = text.splitlines()[0] if text else type(error).__name__
    text = text.removeprefix("{{function_node __wrapped__DecodeImage_")
    _, brace, tail = text.partition("}}")
    return (tail if brace else text).split(" [Op:")[0].strip()


def common_size(
    sizes: np.ndarray, names: Sequence[str], where: str
) -> tuple[int, int]:
    """Return the `(H, W)` that all images share.

    Args:
        sizes: int array `(N, 2)`.
        names: sequence of str, what to call the images in a message.
        where: str, the data set, for messages.

    Raises:
        ValueError: If two images differ.
    """
    other = np.flatnonzero(np.any(sizes != sizes[0], axis=1))
    if len(other):
        described = " and ".join(
            f"{str(names[i])!r} is {sizes[i, 0]}x{sizes[i, 1]}"
            for i in (0, other[0])
        )
        raise ValueError(
            f"{where}: images differ in size: {described} (height x width); "
            f"set image_size, for instance image_size={int(sizes.min())}, to "
            "resize and centre-crop them"
        )
    return int(sizes[0, 0]), int(sizes[0, 1])
