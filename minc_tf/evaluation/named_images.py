"""Images with names, of which some may be bad: what is embedded."""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from minc_tf.data import ImageSource
from minc_tf.data.decode import decode_rgb, encoded_size, is_jpeg_or_png
from minc_tf.data.folder import SUFFIXES
from minc_tf.data.source import to_host

#: The most pixels of a file that is decoded: 134 million, 0.4 GB of RGB.
MOST_PIXELS = 2**27

#: What is wrong with an image whose header is as it should be.
_DAMAGED = "damaged"


class FileImages:
    """Image files, read and decoded when their turn comes.

    Args:
        paths: sequence of str.
        names: sequence of str, one for each path.
        where: str, the folder that the names are relative to.
        labels: int array (N,), or `None` for unlabelled images.
        class_names: sequence of str, or `None`.
        bad: sequence of (name, reason), files that are bad beforehand.

    Attributes:
        names: list of str.
        where: str, as above.
        class_names: sequence of str, or `None` for unlabelled images.
        bad: list of (name, reason).
    """

    def __init__(
        self,
        paths: Sequence[str],
        names: Sequence[str],
        where: str,
        *,
        labels: np.ndarray | None = None,
        class_names: Sequence[str] | None = None,
        bad: Sequence[tuple[str, str]] = (),
    ):
        self.names, self.where = list(names), where
        self.class_names, self.bad = class_names, list(bad)
        self._paths = to_host([os.fsencode(path) for path in paths])
        if labels is None:
            labels = np.full(len(self.names), -1, np.int64)
        self._labels = to_host(labels)

    def at(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return one image; TensorFlow code of a graph, which bad files end.

        Args:
            index: scalar int64 tensor.

        Returns:
            Dict of `image`, uint8 (h, w, 3), and `label`, int64 scalar.
        """
        contents = tf.io.read_file(tf.gather(self._paths, index))
        # TensorFlow would also decode a GIF.
        known = tf.debugging.Assert(is_jpeg_or_png(contents), [index])
        with tf.control_dependencies([known]):
            size = encoded_size(contents)
        small = tf.debugging.Assert(_is_allowed(size[0], size[1]), [size])
        with tf.control_dependencies([small]):
            image = decode_rgb(tf.identity(contents))
        return {"image": image, "label": tf.gather(self._labels, index)}

    def reason(self, index: int) -> str:
        """Tell what is wrong with a file that `at` could not decode.

        Raises:
            FileNotFoundError: the whole folder has gone.
        """
        if not os.path.isdir(self.where):
            raise FileNotFoundError(
                f"the folder {self.where!r} has gone; with it in place the "
                "same command goes on"
            )
        return fault_of_file(os.fsdecode(self._paths[index].numpy()))


class SourceImages:
    """The images of a source that has no files, named by their numbers.

    Args:
        source: `minc_tf.data.ImageSource`. Images that it left out when it was
            loaded are bad, and keep their numbers.

    Attributes:
        names: list of str, such as `"cifar10/test/000123"`.
        where: str, such as `"cifar10/test"`.
        class_names: sequence of str, or `None` for unlabelled images.
        bad: list of (name, reason).
    """

    def __init__(self, source: ImageSource):
        self.where = f"{source.name}/{source.split}"
        self.class_names = source.class_names
        # They end in their numbers, as in "test#123".
        skipped = [int(name.rpartition("#")[2]) for name in source.skipped]
        everything = np.arange(len(source) + len(skipped))
        left = np.setdiff1d(everything, skipped)[: len(source)]
        self.names = [self._name(number) for number in left]
        self.bad = [(self._name(number), _DAMAGED) for number in skipped]
        self._source = source

    def at(self, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return one image; TensorFlow code of a graph, which bad ones end.

        Args:
            index: scalar int64 tensor.

        Returns:
            Dict of `image`, uint8 (h, w, 3), and `label`, int64 scalar.
        """
        example = self._source.at(index)
        return {"image": example["image"], "label": example["label"]}

    def reason(self, index: int) -> str:
        """Tell what is wrong with an image that `at` could not decode."""
        return _DAMAGED

    def _name(self, number):
        return f"{self.where}/{number:06d}"


def named_images(
    images: str | os.PathLike | ImageSource,
) -> FileImages | SourceImages:
    """Give names to the images of a folder or a source.

    Args:
        images: path of a folder, searched to any depth for `.jpg`, `.jpeg` and
            `.png` (links to folders are not followed; names that begin with a
            dot are left out), or a `minc_tf.data.ImageSource`. The names of
            files are relative to the folder; those of a source's files to the
            folder that holds them all.

    Returns:
        `FileImages`, or `SourceImages` for a source without files.

    Raises:
        FileNotFoundError: there is no such folder.
        TypeError: `images` is neither a path nor a source.
        ValueError: there are no images, or a name is not UTF-8.

    Example:
    ```python
    named_images("photos").names  # ['2023/a.jpg', '2023/b.png', 'c.JPEG']
    ```
    """
    if isinstance(images, ImageSource):
        if getattr(images, "files", False):
            return _files_of_source(images)
        return SourceImages(images)
    if not isinstance(images, (str, os.PathLike)):
        raise TypeError(
            "images must be the path of a folder or an ImageSource, received "
            f"{type(images).__name__}"
        )
    folder = os.fspath(images)
    names = _image_files(folder)
    paths = [os.path.join(folder, name) for name in names]
    return FileImages(paths, names, os.path.abspath(folder))


def fault_of_file(path: str) -> str:
    """Tell why an image file cannot be used.

    Args:
        path: str, of a file that cannot be decoded.

    Returns:
        `"unreadable"`, `"empty"`, `"neither JPEG nor PNG"`, `"too large: ..."`
        or, where none of these is true, `"damaged"`.

    Example:
    ```python
    fault_of_file("notes.jpg")  # 'neither JPEG nor PNG'
    ```
    """
    try:
        contents = tf.io.read_file(path)
    except tf.errors.OpError:
        return "unreadable"
    if not len(contents.numpy()):
        return "empty"
    if not is_jpeg_or_png(contents):
        return "neither JPEG nor PNG"
    try:
        height, width = encoded_size(contents).numpy().tolist()
    except tf.errors.OpError:
        return _DAMAGED
    if not _is_allowed(height, width):
        return f"too large: {width} x {height} pixels, at most {MOST_PIXELS}"
    return _DAMAGED


def _is_allowed(height, width):
    # Divided, since the product of numbers in a damaged header may overflow.
    return height <= MOST_PIXELS // tf.maximum(width, 1)


def _image_files(folder):
    """Sorted relative paths of the images below a folder."""
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"images must be an existing folder, received {folder!r}"
        )

    def fail(error):
        raise error

    found = []
    for base, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        inner = os.path.relpath(base, folder)
        for name in files:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in SUFFIXES and not _is_hidden(name):
                found.append(os.path.normpath(os.path.join(inner, name)))
    if not found:
        raise ValueError(
            f"images must be a folder with files {', '.join(SUFFIXES)} at any "
            f"depth, received {folder!r}, which has none"
        )
    _check_names(found)
    return sorted(found)


def _is_hidden(name):
    return name.startswith((".", "__MACOSX"))


def _check_names(names):
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                "images must be files whose names are UTF-8, received "
                f"{os.fsencode(name)!r}; rename it"
            ) from error


def _files_of_source(source):
    paths = [os.fsdecode(path) for path in source._items.numpy()]
    everything = [*paths, *source.skipped]
    root = os.path.commonpath([os.path.dirname(path) for path in everything])
    names = [os.path.relpath(path, root or ".") for path in everything]
    _check_names(names)
    faults = [fault_of_file(path) for path in source.skipped]
    unlabelled = source.class_names is None
    return FileImages(
        paths,
        names[: len(paths)],
        os.path.abspath(root),
        labels=None if unlabelled else source.labels,
        class_names=source.class_names,
        bad=list(zip(names[len(paths) :], faults, strict=True)),
    )
