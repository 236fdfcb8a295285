"""Images in memory: NumPy arrays and `.npz` files."""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from minc_tf.data.npz import as_rgb, read_npz
from minc_tf.data.source import ImageSource, to_host


class ArraySource(ImageSource):
    """Images held in memory as one uint8 array.

    Args:
        images: uint8 array `(N, H, W, 3)`, or grey `(N, H, W)` or
            `(N, H, W, 1)`, which become RGB.
        labels: int array `(N,)`, or `None` for unlabelled images.
        name: str, for messages and summaries.
        split: str, for messages and summaries.
        class_names: sequence of str, or `None`: then classes are named by
            their number.

    Raises:
        TypeError: If an array has the wrong dtype.
        ValueError: If an array has the wrong shape, or a label is out of
            range.

    Example:
    ```python
    images = np.zeros((100, 32, 32, 3), "uint8")
    source = minc_tf.data.ArraySource(images, np.arange(100) % 10)
    ```
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        *,
        name: str = "arrays",
        split: str = "train",
        class_names: Sequence[str] | None = None,
    ) -> None:
        images = as_rgb(images)
        self._images = to_host(images)
        super().__init__(
            labels,
            images.shape[1:],
            name=name,
            split=split,
            class_names=class_names,
            num_examples=len(images),
        )

    @property
    def images(self) -> np.ndarray:
        """The images as a read-only uint8 NumPy array `(N, H, W, 3)`."""
        return np.asarray(self._images)

    def batches(
        self,
        indices_dataset: tf.data.Dataset,
        batch_size: int,
        drop_remainder: bool = False,
    ) -> tf.data.Dataset:
        """Look up a stream of indices, one gather a batch.

        Args:
            indices_dataset: `tf.data.Dataset` of scalar int64 indices.
            batch_size: int.
            drop_remainder: bool, whether to leave out a last partial batch.

        Returns:
            A `tf.data.Dataset` of dicts as `at` returns, with a leading
            batch axis.
        """
        batched = indices_dataset.batch(
            batch_size, drop_remainder=drop_remainder
        )
        return batched.map(
            self.at, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    def at(self, index: int | tf.Tensor) -> dict[str, tf.Tensor]:
        """Return one example; see `ImageSource`, also of indices (b,)."""
        index = tf.cast(index, tf.int64)
        return {
            "image": tf.gather(self._images, index),
            "label": tf.gather(self._labels, index),
            "index": index,
        }

    def _sent_bytes(self):
        return self.images.nbytes

    def _keep(self, rows):
        self._images = to_host(self.images[rows])


def load_npz(
    path: str | os.PathLike,
    split: str = "train",
    *,
    image_size: int | tuple[int, int] | None = None,
    num_examples: int | None = None,
    seed: int = 0,
) -> ArraySource:
    """Read an `.npz` file; pickled objects in it are refused.

    The arrays are `x_train`, `y_train`, `x_test`, `y_test` (the labels may
    be missing), or `images` and `labels`: then the file is one split,
    `"train"`. A folder is read as `path/<split>.npz`, and there `images` and
    `labels` are the split that the file is named after.

    Args:
        path: str or path, the file, or a folder of one file a split.
        split: str.
        image_size: `None`, int or `(H, W)`: only to check, an array is not
            resized.
        num_examples: int, or `None` for all: only that many, the first of a
            seeded permutation.
        seed: int >= 0, of that permutation.

    Returns:
        An `ArraySource`.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If an array has the wrong dtype.
        ValueError: If the arrays are missing, pickled or of a wrong shape.

    Example:
    ```python
    np.savez("digits.npz", images=images, labels=labels)
    source = minc_tf.data.load_npz("digits.npz")
    ```
    """
    arrays = read_npz(path, split, image_size=image_size)
    source = ArraySource(
        arrays.images, arrays.labels, name=arrays.name, split=split
    )
    if num_examples is not None and num_examples < len(source):
        source = source.subset(num_examples, seed)
    return source
