"""Encoded images as bytes or files, and the look at all of them.

One check serves the image folders and TensorFlow Datasets.
"""

import concurrent.futures
import itertools
import os
from collections.abc import Sequence

import numpy as np

from minc_tf._checks import check_size
from minc_tf.data.decoding import decode_image
from minc_tf.data.files import BadImageError, read_image_file
from minc_tf.data.formats import check_contents
from minc_tf.data.limits import MAX_PIXELS
from minc_tf.data.source import MOST_SENT, ImageSource
from minc_tf.data.stored import StoredSource
from minc_tf.data.stores import FileStore, MemoryStore

# How the files begin and end; what does not is decoded to see what it is.
_ENDS = (
    (b"\xff\xd8\xff", b"\xff\xd9"),
    (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"),
)


class EncodedSource(StoredSource):
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
    ) -> None:
        super().__init__(
            (FileStore if files else MemoryStore)(items),
            labels,
            image_shape,
            on_bad=on_bad,
            max_pixels=max_pixels,
            name=name,
            split=split,
            class_names=class_names,
            skipped=skipped,
        )
        self._on_disk = on_disk

    def portable(self) -> ImageSource:
        """Return the same images for pipelines that other machines run.

        Paths are absolute. What cannot be read is TensorFlow's own error.

        Raises:
            ValueError: If that cannot be; see `ImageSource`.
        """
        if self._on_disk is None or self._sent_bytes() <= MOST_SENT:
            return super().portable()
        source = self._on_disk.portable()
        source._relabel(self.labels, self.class_names)
        return source

    def _keep(self, rows):
        super()._keep(rows)
        if self._on_disk is not None:
            self._on_disk = self._on_disk._replace_rows(rows)


def parse_image_size(
    image_size: int | tuple[int, int] | None,
) -> tuple[int, int] | None:
    """Return `image_size` as `None` or a tuple (H, W)."""
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

    Returns heights and widths (N, 2), 0 where not decoded, and bool (N,), false
    for what cannot be read. Without `decode`, only files that do not begin and
    end as a JPEG or PNG does are decoded; of bytes the headers are looked at.
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
