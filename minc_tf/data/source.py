"""What every data set looks like to the rest of the library.

A source answers with TensorFlow graph code, so that one `tf.data` pipeline
serves arrays in memory, encoded bytes and files on disk alike.
"""

import copy
import functools
import os
from collections.abc import Sequence
from typing import TypeVar, cast

import numpy as np
import tensorflow as tf

from minc_tf._checks import check_int
from minc_tf.data.labels import as_labels
from minc_tf.data.subsets import rows_of_subset

# Of images in memory, to a service. 1 GiB takes it half a minute and five
# times the memory; from 2 GiB on TensorFlow ends the process.
MOST_SENT = 2**30

#: The class of a source, which a subset has, too.
Source = TypeVar("Source", bound="ImageSource")

#: Labels that a source reads when they are first asked for.
UNREAD = object()


class ImageSource:
    """An indexed set of images, with or without labels.

    The base class of all sources. A subclass provides `at`, `_keep` and,
    where there is a faster way than one example at a time, `stream` or
    `batches`.

    Args:
        labels: int array `(N,)`, or `None` for unlabelled images. A label of
            -1 means unknown. `UNREAD`, with `class_names`, for those that the
            subclass reads when they are first asked for.
        image_shape: tuple `(H, W, 3)`, or `(None, None, 3)` when the images
            differ in size.
        name: str, the data set's name, for messages and summaries.
        split: str, the split that this is.
        class_names: sequence of str, or `None`: then classes are named by
            their number.
        skipped: unreadable images that were left out: paths of files, or
            numbers.
        num_examples: int, needed only when there is no array of labels.

    Raises:
        TypeError: If the labels are no integers.
        ValueError: If they are out of range, or not one an image.

    Attributes:
        num_examples: int, also `len(source)`.
        class_names: tuple of str, or `None` when unlabelled.
        num_classes: int, 0 when unlabelled.
        labels: int64 NumPy array `(N,)`, all -1 when unlabelled.
        left_out: list of str or int, the images that were left out.

    Example:
    ```python
    source = minc_tf.data.load("shapes", num_examples=500)
    source.at(3)["image"].shape  # (32, 32, 3)
    for batch in source.examples(128):
        print(batch["image"].shape, batch["label"][:5])
    ```
    """

    def __init__(
        self,
        labels: np.ndarray | None,
        image_shape: tuple[int | None, int | None, int],
        *,
        name: str,
        split: str,
        class_names: Sequence[str] | None = None,
        skipped: Sequence[str] = (),
        num_examples: int | None = None,
    ) -> None:
        if labels is None:
            labels = np.full(num_examples, -1, np.int64)
        elif labels is not UNREAD:
            if num_examples is None:
                num_examples = len(labels)
            labels = as_labels(labels, num_examples, class_names)
            if class_names is None:
                class_names = range(int(labels.max(initial=-1)) + 1)
        if class_names is not None:
            class_names = tuple(str(c) for c in class_names)
        self.num_examples = num_examples
        self._relabel(labels, class_names)
        self.image_shape = tuple(
            None if size is None else int(size) for size in image_shape
        )
        self.name = name
        self.split = split
        self.left_out = list(skipped)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """int64 array `(N,)`; `UNREAD` ones are read when first asked for."""
        found = as_labels(
            self._read_labels(), self.num_examples, self.class_names
        )
        return cast(np.ndarray, found)

    @property
    def skipped(self) -> list[str]:
        """What the images are called that were left out."""
        return [self._text(name) for name in self.left_out]

    def _text(self, name):
        return f"{self.split}#{name}" if isinstance(name, int) else name

    def _relabel(self, labels, class_names):
        """Set the labels, and `_labels`, those that a graph holds."""
        self._labels = None
        if labels is not UNREAD:
            self.labels, self._labels = labels, to_host(labels)
        self.class_names = class_names
        self.num_classes = len(class_names or ())

    def __len__(self) -> int:
        return int(self.num_examples)

    def __repr__(self):
        return (
            f"<{type(self).__name__} {self.name}/{self.split}: "
            f"{self.num_examples} images {self.image_shape}, "
            f"{self.num_classes} classes>"
        )

    def at(self, index: int | tf.Tensor) -> dict[str, tf.Tensor]:
        """Return one example; TensorFlow code that a graph can hold.

        Args:
            index: scalar int64 tensor or int in `[0, N)`.

        Returns:
            A dict of `"image"`, uint8 `(H, W, 3)`; `"label"`, int64 scalar,
            -1 when unlabelled; `"index"`, int64 scalar.
        """
        raise NotImplementedError

    @property
    def varies(self) -> bool:
        """Whether the images differ in size, so that they need a crop."""
        return None in self.image_shape

    def stream(self, indices_dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Look up a stream of indices, in its order, one at a time.

        Args:
            indices_dataset: `tf.data.Dataset` of scalar int64 indices.

        Returns:
            A `tf.data.Dataset` of dicts as `at` returns.
        """
        return indices_dataset.map(
            self.at, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    def batches(
        self,
        indices_dataset: tf.data.Dataset,
        batch_size: int,
        drop_remainder: bool = False,
    ) -> tf.data.Dataset:
        """Look up a stream of indices, in its order, as batches.

        Args:
            indices_dataset: `tf.data.Dataset` of scalar int64 indices.
            batch_size: int.
            drop_remainder: bool, whether to leave out a last partial batch.

        Returns:
            A `tf.data.Dataset` of dicts as `at` returns, with a leading
            batch axis.

        Raises:
            ValueError: If the images differ in size.
        """
        if self.varies:
            raise ValueError(
                f"image_size must be set for {self.name}/{self.split}, whose "
                "images differ in size, to put them in batches; received "
                "None; load them with, for instance, image_size=224 to "
                "resize and centre-crop them"
            )
        examples = self.stream(indices_dataset)
        return examples.batch(batch_size, drop_remainder=drop_remainder)

    def examples(self, batch_size: int) -> tf.data.Dataset:
        """Return every example once, in order, the last partial batch too.

        Args:
            batch_size: int.

        Returns:
            A `tf.data.Dataset` of dicts as `at` returns, with a leading
            batch axis.

        Raises:
            ValueError: If `batch_size` is not a positive int, or the images
                differ in size.
        """
        check_int("batch_size", batch_size, 1)
        indices = tf.data.Dataset.range(self.num_examples)
        dataset = self.batches(indices, batch_size, drop_remainder=False)
        return dataset.prefetch(tf.data.AUTOTUNE)

    def subset(self: Source, n: int, seed: int = 0) -> Source:
        """Return `n` random examples, drawn without regard to the class.

        Subsets of one seed are nested: a larger one begins with a smaller.

        Args:
            n: int in `[1, N]`.
            seed: int >= 0.

        Returns:
            A source of the same kind, whose indices are `0` to `n - 1`.

        Raises:
            ValueError: If `n` is not in `[1, N]`, or `seed` is negative.
        """
        return self._replace_rows(rows_of_subset(self, n, seed))

    def portable(self) -> "ImageSource":
        """Return the same images for pipelines that other machines run.

        What these look up is TensorFlow graph code throughout, and does not
        depend on this process.

        Raises:
            ValueError: If that cannot be: more than 1 GiB in memory would
                have to be sent, the files are no TFRecords, or unreadable
                images are to be skipped when they are met.
        """
        if self._sent_bytes() > MOST_SENT:
            raise ValueError(
                f"{self.name}/{self.split} must have at most "
                f"{MOST_SENT / 2**30:.2f} GiB in memory to be sent to a "
                f"service; it has {self._sent_bytes() / 2**30:.2f} GiB; keep "
                "the images in a folder or in TFRecord files"
            )
        return copy.copy(self)

    def _sent_bytes(self):
        """How large the images are that the graph of a pipeline holds."""
        return 0

    def _replace_rows(self, rows):
        """A source of the same kind, of some of the images."""
        chosen = copy.copy(self)
        chosen.num_examples = len(rows)
        chosen.left_out = list(self.left_out)
        chosen._keep(rows)
        if "labels" in vars(self):  # others are read when they are asked for
            chosen._relabel(self.labels[rows], self.class_names)
        return chosen

    def _keep(self, rows):
        """Forget all images but those of the rows, and keep their order."""
        raise NotImplementedError

    def _read_labels(self):
        raise NotImplementedError


def to_host(array) -> tf.Tensor:
    """Return a tensor in host memory, where `tf.data` runs.

    Else an accelerator would hold it, and every batch would be copied back.
    """
    with tf.device("CPU:0"):
        return tf.convert_to_tensor(array)


def absolute(path: str | bytes) -> str | bytes:
    """Return a path that means the same in every folder, as `gs://` ones do."""
    scheme = b"://" if isinstance(path, bytes) else "://"
    return path if scheme in path else os.path.abspath(path)
