"""Images with names, of which some may be bad: what is embedded."""

import logging
import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from minc_tf.data import ImageSource
from minc_tf.data.decoding import decode_image, graph_decode_image
from minc_tf.data.files import (
    BadImageError,
    check_text,
    read_image_file,
)
from minc_tf.data.formats import DAMAGED, fault_of_file, why_not_read
from minc_tf.data.limits import MAX_PIXELS, check_max_pixels
from minc_tf.data.listing import Listing, count_kinds
from minc_tf.data.resize import resize_and_crop
from minc_tf.data.source import to_host

_LOGGER = logging.getLogger(__name__)


class FileImages:
    """Image files below `where`, `""` for no common folder, read one by one.

    `bad` lists the (name, reason) of files known to be bad.
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
        max_pixels: int = MAX_PIXELS,
    ):
        self.names, self.where = list(names), where
        self.class_names, self.bad = class_names, list(bad)
        self._max_pixels = max_pixels
        self._paths = to_host([os.fsencode(path) for path in paths])
        if labels is None:
            labels = np.full(len(self.names), -1, np.int64)
        self._labels = to_host(labels)

    def at(self, index: tf.Tensor, size: tuple[int, int]) -> dict:
        """Return `image`, uint8 (H, W, 3), and `label`, int64, in a graph."""
        contents = tf.io.read_file(tf.gather(self._paths, index))
        image = graph_decode_image(
            contents,
            self._max_pixels,
            size,
            lambda image: resize_and_crop(image, size),
        )
        return {"image": image, "label": tf.gather(self._labels, index)}

    def again(self, index: int, size: tuple[int, int]) -> tuple:
        """As `at`, in Python, where BadImageError is told from MemoryError."""
        image = decode_image(
            read_image_file(self._paths[index].numpy()),
            self._max_pixels,
            lambda image: resize_and_crop(image, size),
        )
        return image.numpy(), self._labels[index].numpy()

    def reason(self, index: int) -> str:
        """Tell what is wrong with a file that `at` could not decode."""
        if self.where and not os.path.isdir(self.where):
            raise FileNotFoundError(
                f"the folder {self.where!r} has gone; with it in place the "
                "same command goes on"
            )
        path = os.fsdecode(self._paths[index].numpy())
        return fault_of_file(path, self._max_pixels)


class SourceImages:
    """Images of a source without files, named as `"cifar10/test/000123"`.

    Those that the source left out when it was loaded are bad, but numbered.
    """

    def __init__(self, source: ImageSource):
        self.where = f"{source.name}/{source.split}"
        self.class_names = source.class_names
        skipped = source.left_out
        everything = np.arange(len(source) + len(skipped))
        left = np.setdiff1d(everything, skipped)[: len(source)]
        self.names = [self._name(number) for number in left]
        self.bad = [(self._name(number), DAMAGED) for number in skipped]
        self._source = source

    def at(self, index: tf.Tensor, size: tuple[int, int]) -> dict:
        """Return `image`, uint8 (H, W, 3), and `label`, int64, in a graph."""
        example = self._source.at(index)
        image = resize_and_crop(example["image"], size)
        return {"image": image, "label": example["label"]}

    def again(self, index: int, size: tuple[int, int]) -> tuple:
        """As `at`, in Python, where BadImageError is told from MemoryError."""
        example = self._source.at(index)
        image = resize_and_crop(example["image"], size)
        return image.numpy(), example["label"].numpy()

    def reason(self, index: int) -> str:
        """Tell what is wrong with an image that `at` could not decode."""
        try:
            self._source.at(index)
        except BadImageError as error:
            if str(error.__cause__).startswith("too large"):
                return str(error.__cause__)
        return DAMAGED

    def _name(self, number):
        return f"{self.where}/{number:06d}"


def named_images(
    images: str | os.PathLike | ImageSource, max_pixels: int = MAX_PIXELS
) -> FileImages | SourceImages:
    """Name images relative to a folder, searched to any depth, or by source.

    Dot names and links to folders are left out; other formats are bad.
    """
    check_max_pixels("max_pixels", max_pixels)
    if isinstance(images, ImageSource):
        paths = getattr(images, "paths", None)
        if paths is None:
            return SourceImages(images)
        return _files_of_source(images, paths)
    if not isinstance(images, (str, os.PathLike)):
        raise TypeError(
            "images must be the path of a folder or an ImageSource; received "
            f"{type(images).__name__}"
        )
    folder = os.fspath(images)
    names, bad = _image_files(folder)
    paths = [os.path.join(folder, name) for name in names]
    return FileImages(
        paths, names, os.path.abspath(folder), bad=bad, max_pixels=max_pixels
    )


def _image_files(folder):
    """Sorted relative paths of the images below a folder, and the bad ones."""
    if not os.path.exists(folder):
        raise FileNotFoundError(
            f"images must be an existing folder; received {folder!r}"
        )
    if not os.path.isdir(folder):
        raise ValueError(
            "images must be a folder; received "
            f"{'a file' if os.path.isfile(folder) else 'no regular file'}, "
            f"{folder!r}"
        )
    found, bad, others = [], [], []
    for inner, listing in walk(folder):
        found += [os.path.join(inner, name) for name in listing.images]
        others += listing.others
        bad += [
            (os.path.join(inner, name), why)
            for name, why in listing.left_out.items()
        ]
    if others:
        _LOGGER.info("%s: left out %s", folder, count_kinds(others))
    if not found:
        hint = ""
        if bad:
            kinds = count_kinds(name for name, _ in bad)
            hint = f" that are read (but {kinds}: {bad[0][1]})"
        raise ValueError(
            "images must be a folder with JPEG, PNG or other images at any "
            f"depth; received {folder!r}, which has none{hint}"
        )
    return sorted(found), sorted(bad)


def walk(folder: str) -> Iterator[tuple[str, Listing]]:
    """Yield each folder's relative path and names; links are not followed."""
    todo = [""]
    while todo:
        inner = todo.pop()
        listing = Listing(os.path.join(folder, inner))
        yield inner, listing
        todo += [
            os.path.join(inner, name)
            for name in listing.folders
            if not os.path.islink(listing.path(name))
        ]


def _files_of_source(source, paths):
    everything = [*paths, *source.skipped]
    root = os.path.commonpath([os.path.dirname(path) for path in everything])
    names = [os.path.relpath(path, root or ".") for path in everything]
    for name in names:
        check_text("images", root, name)
    limit = source.max_pixels
    faults = [_why_skipped(path, limit) for path in source.skipped]
    unlabelled = source.class_names is None
    return FileImages(
        paths,
        names[: len(paths)],
        os.path.abspath(root),
        labels=None if unlabelled else source.labels,
        class_names=source.class_names,
        bad=list(zip(names[len(paths) :], faults, strict=True)),
        max_pixels=limit,
    )


def _why_skipped(path, max_pixels):
    """Why a source left a file out: by its suffix, or by its contents."""
    why = why_not_read(os.path.splitext(path)[1].lower())
    return why or fault_of_file(path, max_pixels)
