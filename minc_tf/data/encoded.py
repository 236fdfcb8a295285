"""Images that stay encoded until they are used, as bytes or files.

One check serves the image folders and TensorFlow Datasets.
"""

import concurrent.futures
import itertools
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from minc_tf._checks import check_choice, check_size
from minc_tf.data.files import read_image_file
from minc_tf.data.formats import (
    DECODE_ERRORS,
    PORTABLE_SUFFIXES,
    BadImageError,
    check_contents,
    decode_image,
    first_line,
    graph_decode_image,
)
from minc_tf.data.limits import MAX_PIXELS, check_max_pixels
from minc_tf.data.resize import resize_and_crop
from minc_tf.data.source import (
    MOST_SENT,
    ImageSource,
    absolute,
    to_host,
)

# How the files begin and end; what does not is decoded to see what it is.
_ENDS = (
    (b"\xff\xd8\xff", b"\xff\xd9"),
    (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"),
)


class EncodedSource(ImageSource):
    """Images kept as encoded bytes or as files, decoded at each access.

    Args:
        items: sequence of bytes or str, the encoded images or their paths.
        labels: int array `(N,)`, or `None` for unlabelled images.
        image_shape: tuple `(H, W, 3)`; what has another size is resized and
            centre-cropped to it. `(None, None, 3)` leaves every image its
            size.
        files: bool, whether `items` are paths of files.
        name: str, for messages and summaries.
        split: str, for messages and summaries.
        class_names: sequence of str, or `None`.
        skipped: paths of unreadable files that were left out.
        on_bad: `None` when every image is known to decode, else what
            `stream` and `batches` do about one that does not: `"raise"`, an
            error that names it; `"skip"`, list it in `skipped` and give the
            next image that decodes, with its label and index, in its place.
        on_disk: `ImageSource` of the same images in files, which a service
            reads when `items` are too large to be sent, or `None`.
        max_pixels: int, the most pixels of an image; one of more is refused
            by its header, as bad, before it is decoded.

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
        image_shape: tuple[int | None, int | None, int],
        *,
        files: bool,
        name: str = "encoded",
        split: str = "train",
        class_names: Sequence[str] | None = None,
        skipped: Sequence[str] = (),
        num_examples: int | None = None,
        on_bad: str | None = None,
        on_disk: ImageSource | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        check_choice("on_bad", on_bad, (None, "raise", "skip"))
        check_max_pixels("max_pixels", max_pixels)
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
        self.on_bad = on_bad
        self.max_pixels = max_pixels
        self._portable = False
        self._items = to_host(items)
        self._on_disk = on_disk

    def at(self, index: int | tf.Tensor) -> dict[str, tf.Tensor]:
        """Return one example; TensorFlow code that a graph can hold.

        Args:
            index: scalar int64 tensor or int in `[0, N)`.

        Returns:
            A dict of `"image"`, uint8 `(H, W, 3)`; `"label"`, int64 scalar,
            -1 when unlabelled; `"index"`, int64 scalar.

        Raises:
            ValueError: If the image cannot be read; in a graph it is
                TensorFlow's own error.
            MemoryError: If there is not enough memory for it.
        """
        try:
            return super().at(index)
        except BadImageError as error:
            raise BadImageError(self._complaint(index, error)) from error
        except DECODE_ERRORS as error:  # of a record without an image
            reason = first_line(error)
            raise BadImageError(self._complaint(index, reason)) from error

    def stream(self, indices_dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Look up a stream of indices, in its order, one at a time.

        Args:
            indices_dataset: `tf.data.Dataset` of scalar int64 indices.

        Returns:
            A `tf.data.Dataset` of dicts as `at` returns. Where an image
            cannot be read it does as `on_bad` says.
        """
        if self.on_bad is None:
            return super().stream(indices_dataset)

        # A data set of one element can catch an error inside a graph.
        def at(index):
            one = tf.data.Dataset.from_tensors(index)
            image = one.map(super(EncodedSource, self).at).ignore_errors()
            either = image.concatenate(one.map(self._instead_of))
            return either.take(1).get_single_element()

        return indices_dataset.map(
            at, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    def portable(self) -> ImageSource:
        """Return the same images for pipelines that other machines run.

        Paths are absolute. What cannot be read is TensorFlow's own error.

        Raises:
            ValueError: If that cannot be; see `ImageSource`.
        """
        if self.on_bad == "skip":
            hint = ", or load with load_folder(check='all')" * self.files
            raise ValueError(
                "skip_bad must be false with a service for "
                f"{self.name}/{self.split}, whose images were not all decoded "
                f"when it was loaded; repair or remove bad images{hint}"
            )
        if self._on_disk is not None and self._sent_bytes() > MOST_SENT:
            source = self._on_disk.portable()
            source.labels, source._labels = self.labels, self._labels
            source.class_names = self.class_names
            source.num_classes = self.num_classes
            return source
        source = super().portable()
        source.on_bad, source._portable = None, True
        if self.files:
            paths = self._items.numpy().tolist()
            self._check_portable(paths)
            source._items = to_host([absolute(path) for path in paths])
        return source

    def _check_portable(self, paths):
        suffixes = {os.path.splitext(path)[1].lower() for path in paths}
        others = suffixes - {suffix.encode() for suffix in PORTABLE_SUFFIXES}
        if others:
            raise ValueError(
                f"{self.name}/{self.split} must be of JPEG and PNG files to be "
                "read by a service, which decodes no other; it has "
                f"{min(others).decode()!r} files: convert them"
            )

    def _sent_bytes(self):
        if self.files:
            return 0
        lengths = tf.strings.length(self._items)
        return int(tf.reduce_sum(tf.cast(lengths, tf.int64)))

    def _image_at(self, index):
        item = tf.gather(self._items, index)
        if tf.executing_eagerly():
            item = item.numpy()
            contents = read_image_file(item) if self.files else item
        else:
            contents = tf.io.read_file(item) if self.files else item
        return self._decoded(contents)

    def _decoded(self, contents):
        """Decode an image and give it its size, in a graph or outside."""
        size = None if self.varies else self.image_shape[:2]

        def finish(image):
            return image if size is None else resize_and_crop(image, size)

        if isinstance(contents, bytes):
            return decode_image(contents, self.max_pixels, finish)
        return graph_decode_image(
            contents, self.max_pixels, size, finish, portable=self._portable
        )

    def _instead_of(self, index):
        """Return what `on_bad` asks for in place of an unreadable image."""
        image, index, complaint = tf.numpy_function(
            self._next_readable,
            [index],
            [tf.uint8, tf.int64, tf.string],
            stateful=False,
        )
        failed = tf.debugging.Assert(complaint == b"", [complaint])
        with tf.control_dependencies([failed]):
            return self._example(image, tf.ensure_shape(index, []))

    def _next_readable(self, index):
        """Find an image that decodes, from `index` on: `on_bad` in Python."""
        complaint = ""
        for place in range(index, index + self.num_examples):
            place = np.int64(place % self.num_examples)
            try:
                return self.at(place)["image"].numpy(), place, b""
            except BadImageError as error:
                complaint = complaint or str(error)
            if self.on_bad == "raise":
                break
            name = self._name_of(place)
            if name not in self.skipped:
                self.skipped.append(name)
        return np.zeros((0, 0, 3), np.uint8), index, complaint.encode()

    def _complaint(self, index, error):
        # TensorFlow would put backslashes before quotes.
        return (
            f"{self.name}/{self.split}: unreadable image "
            f"{self._name_of(index)} ({error}); repair or remove it, or load "
            "with skip_bad=True to leave it out"
        )

    def _name_of(self, index):
        if self.files:
            return os.fsdecode(self._items[index].numpy())
        return f"{self.split}#{int(index)}"

    def _replace_rows(self, rows):
        on_disk = self._on_disk
        return EncodedSource(
            tf.gather(self._items, to_host(rows)),
            image_shape=self.image_shape,
            files=self.files,
            on_bad=self.on_bad,
            on_disk=None if on_disk is None else on_disk._replace_rows(rows),
            max_pixels=self.max_pixels,
            **self._description(rows),
        )


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
    return check_size("image_size", image_size, also=", or None")


def check_images(
    items: Sequence[bytes | str],
    names: Sequence[str],
    *,
    files: bool,
    skip_bad: bool,
    where: str,
    decode: bool = True,
    max_pixels: int = MAX_PIXELS,
) -> tuple[np.ndarray, np.ndarray]:
    """Look at every image once, so that a bad one is found before training.

    Args:
        items: sequence of bytes, or of paths when `files` is true.
        names: sequence of str, what to call the images in a message.
        files: bool, whether `items` are paths.
        skip_bad: bool, whether unreadable images are left out.
        where: str, the data set, for messages.
        decode: bool, whether all are decoded; else only files that do not
            begin and end as a JPEG or PNG does, and of `items` in memory only
            the headers are looked at.
        max_pixels: int, the most pixels of an image.

    Returns:
        A tuple `(sizes, good)`: int array `(len(items), 2)` of heights and
        widths, 0 where it was not decoded, and bool array `(len(items),)`,
        false where an image cannot be read.

    Raises:
        ValueError: If an image cannot be read and `skip_bad` is false, or
            if none can.
        MemoryError: If there is not enough memory for one.
    """

    def size(item):
        if not decode and files and _looks_whole(item):
            return (0, 0), None
        try:
            contents = read_image_file(item) if files else item
            if not decode and not files:
                return check_contents(contents, max_pixels)[1], None
            shape = decode_image(contents, max_pixels).shape
            return tuple(shape[:2]), None
        except BadImageError as error:
            return (0, 0), str(error)

    def look(chunk):
        return [size(item) for item in chunk]

    results = _map_threads(look, items, 16 if decode else 256)
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


def _looks_whole(path):
    try:
        with open(path, "rb", buffering=0) as file:
            begin = file.read(8)
            file.seek(-8, os.SEEK_END)
            end = file.read(8)
    except OSError:
        return False
    return any(begin.startswith(a) and end.endswith(z) for a, z in _ENDS)


def _map_threads(function, items, size):
    """Map chunks of `size` items in threads, with a bounded queue."""
    workers = min(32, 2 * (os.cpu_count() or 1))
    results = []
    remaining = iter(items)
    chunks = iter(lambda: list(itertools.islice(remaining, size)), [])
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        while some := list(itertools.islice(chunks, 4 * workers)):
            for found in pool.map(function, some):
                results += found
    return results
