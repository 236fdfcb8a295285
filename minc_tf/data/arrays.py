"""Images in memory: NumPy arrays and `.npz` files."""

import os
import pathlib
import zipfile
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from minc_tf.data.source import ImageSource, permutation, to_host


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
        **description,
    ):
        images = _as_rgb(images)
        labels = _as_labels(labels, len(images), class_names)
        self._images = to_host(images)
        super().__init__(
            labels,
            images.shape[1:],
            name=name,
            split=split,
            class_names=class_names,
            **{**description, "num_examples": len(images)},
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

        def gather(indices):
            return {
                "image": tf.gather(self._images, indices),
                "label": tf.gather(self._labels, indices),
                "index": indices,
            }

        batched = indices_dataset.batch(
            batch_size, drop_remainder=drop_remainder
        )
        return batched.map(
            gather, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    def _image_at(self, index):
        return tf.gather(self._images, index)

    def _sent_bytes(self):
        return self.images.nbytes

    def _replace_rows(self, rows):
        return ArraySource(self.images[rows], **self._description(rows))


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
    path = pathlib.Path(path)
    one_split = "train"
    if path.is_dir():
        path, one_split = path / f"{split}.npz", split
    if not path.is_file():
        raise FileNotFoundError(
            f"data_dir must be an .npz file, or a folder with {split}.npz; "
            f"there is no file {str(path)!r}"
        )
    try:
        archive = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"data_dir must be an .npz file as np.savez writes it; "
            f"{str(path)!r} is not one ({error})"
        ) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError(
            f"data_dir must be an .npz file with named arrays; {str(path)!r} "
            f"holds one bare array of shape {archive.shape}"
        )
    with archive:
        image_key, label_key = _npz_keys(archive.files, path, split, one_split)
        images = _read_array(archive, image_key, path)
        labels = label_key and _read_array(archive, label_key, path)
    source = ArraySource(images, labels, name=path.stem, split=split)
    _check_size(source.image_shape[:2], image_size, path)
    if num_examples is not None and num_examples < len(source):
        rows = permutation(len(source), seed)[:num_examples]
        source = source._replace_rows(rows)
    return source


def _npz_keys(keys, path, split, one_split):
    """Return the names of the arrays; the one of the labels may be `None`."""
    images, labels = f"x_{split}", f"y_{split}"
    if images not in keys:
        images, labels = "images", "labels"
        if images not in keys:
            raise ValueError(
                f"split={split!r} needs an array 'x_{split}' or 'images' in "
                f"{str(path)!r}; it holds {', '.join(sorted(keys)) or 'none'}"
            )
        if split != one_split:
            raise ValueError(
                f"split must be {one_split!r} for {str(path)!r}, whose array "
                f"'images' is one split; received {split!r} (name the arrays "
                "x_train, y_train, x_test, y_test for two)"
            )
    return images, labels if labels in keys else None


def _read_array(archive, key, path):
    try:
        return archive[key]
    except ValueError as error:
        raise ValueError(
            f"array {key!r} of {str(path)!r} must be a plain numeric array; "
            "it holds Python objects, which are never unpickled"
        ) from error
    except (OSError, EOFError, zipfile.BadZipFile, zipfile.zlib.error) as error:
        raise ValueError(
            f"array {key!r} of {str(path)!r} cannot be read ({error})"
        ) from error


def _check_size(found, image_size, path):
    if image_size is None:
        return
    wanted = (image_size, image_size)
    wanted = tuple(image_size) if np.ndim(image_size) else wanted
    if wanted != found:
        raise ValueError(
            f"image_size must be None or {found}, the size of the images in "
            f"{str(path)!r}: arrays are not resized; received {image_size!r}"
        )


def _as_rgb(images):
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(
            "images must be uint8 with values 0 to 255; received dtype "
            f"{images.dtype}{_advice(images)}"
        )
    shape = images.shape
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in shape:
        raise ValueError(
            "images must have shape (N, H, W, 3), or (N, H, W) or "
            f"(N, H, W, 1) for grey, with N >= 1; received {shape}"
        )
    if images.shape[-1] == 1:
        images = np.repeat(images, 3, axis=-1)
    return images


def _advice(images):
    """Say what to do with images of another dtype, by their values."""
    if images.dtype == object or images.size == 0:
        return ""
    if images.dtype.kind == "f":
        top = np.nanmax(images)
        if np.nanmin(images) >= 0 and top <= 1:
            return " in 0 to 1: pass (255 * images).round().astype('uint8')"
        if np.nanmin(images) >= 0 and top <= 255:
            return " in 0 to 255: pass images.round().astype('uint8')"
        return ": undo the normalisation first"
    if images.dtype.kind in "iu":
        if images.min() >= 0 and images.max() <= 255:
            return " in 0 to 255: pass images.astype('uint8')"
        return f" in {images.min()} to {images.max()}: rescale to 0 to 255"
    return ""


def _as_labels(labels, num_examples, class_names):
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"labels must be integers; received dtype {labels.dtype}"
        )
    # Keras's own CIFAR files keep labels as a column.
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (num_examples,):
        raise ValueError(
            f"labels must have shape ({num_examples},), one an image; "
            f"received {labels.shape}"
        )
    top = np.inf if class_names is None else len(class_names) - 1
    if labels.min() < -1 or labels.max() > top:
        raise ValueError(
            "labels must lie in 0 to num_classes - 1 (-1: unknown)"
            f"{'' if top == np.inf else f' = {top}'}; received values from "
            f"{labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64)
