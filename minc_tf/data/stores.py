"""Where encoded images are kept: in memory, or in files.

A store is what an `EncodedSource` is made of. It looks up items, in graph code
or outside a graph, and opens them; a source decodes what they hold.
`minc_tf.data.records.store` has the one for record files.
"""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from minc_tf.data.files import read_image_file
from minc_tf.data.formats import PORTABLE_SUFFIXES
from minc_tf.data.source import absolute, to_host


class MemoryStore:
    """Encoded images in memory.

    `chunk` is how many to look up at a time, or `None` for one alone.
    """

    chunk = None

    def __init__(self, items: Sequence[bytes] | tf.Tensor):
        self._items = to_host(items)

    def __len__(self) -> int:
        return len(self._items)

    def look_up(self, indices: tf.Tensor) -> tuple[tf.Tensor, None]:
        """Items (b,) of the indices (b,), and no labels."""
        return tf.gather(self._items, indices), None

    def open(self, item: tf.Tensor) -> bytes | tf.Tensor:
        """What an item holds: bytes, or a tensor inside a graph."""
        return item.numpy() if tf.executing_eagerly() else item

    def name(self, index: int) -> str | int:
        """What an image is called: a path, or its number."""
        return int(index)

    def take(self, rows: np.ndarray) -> "MemoryStore":
        """A store of some of the images, in the order of the rows."""
        return type(self)(tf.gather(self._items, to_host(rows)))

    def portable(self, where: str) -> "MemoryStore":
        """The same for another process; a ValueError where that cannot be."""
        return self

    def sent_bytes(self) -> int:
        """How many bytes the graph of a pipeline holds of the images."""
        lengths = tf.strings.length(self._items)
        return int(tf.reduce_sum(tf.cast(lengths, tf.int64)))


class FileStore(MemoryStore):
    """Images in files, of which the paths are in memory."""

    @property
    def paths(self) -> list[str]:
        """The paths of all files."""
        return [os.fsdecode(path) for path in self._items.numpy()]

    def open(self, item: tf.Tensor) -> bytes | tf.Tensor:
        """What a file holds: bytes, or a tensor inside a graph."""
        if tf.executing_eagerly():
            return read_image_file(item.numpy())
        return tf.io.read_file(item)

    def name(self, index: int) -> str:
        """The path of a file."""
        return os.fsdecode(self._items[index].numpy())

    def portable(self, where: str) -> "FileStore":
        """The same with absolute paths; a ValueError for other formats."""
        paths = self._items.numpy().tolist()
        suffixes = {os.path.splitext(path)[1].lower() for path in paths}
        others = suffixes - {suffix.encode() for suffix in PORTABLE_SUFFIXES}
        if others:
            raise ValueError(
                f"{where} must be of JPEG and PNG files to be read by a "
                f"service, which decodes no other; it has "
                f"{min(others).decode()!r} files: convert them"
            )
        return FileStore([absolute(path) for path in paths])

    def sent_bytes(self) -> int:
        """None: a graph holds the paths."""
        return 0
