"""A folder of image files."""

import itertools
import logging
import os
import pathlib
import re

import numpy as np

from minc_tf._checks import check_choice, check_int, did_you_mean
from minc_tf.data.encoded import (
    EncodedSource,
    check_images,
    parse_image_size,
)
from minc_tf.data.files import check_text
from minc_tf.data.label_file import LABEL_FILE, read_label_file
from minc_tf.data.limits import MAX_PIXELS, check_max_pixels
from minc_tf.data.listing import Listing, count_kinds
from minc_tf.data.subsets import permutation

_LOGGER = logging.getLogger(__name__)

_KINDS = "JPEG, PNG, GIF, BMP and, with Pillow, WebP, TIFF and others"
_TABLE = re.compile(r"\.(csv|tsv)$", re.IGNORECASE)
_LIKE_LABEL_FILE = re.compile(r"labels?\.(csv|tsv)", re.IGNORECASE)
_SPLIT_NAMES = ("train", "training", "test", "val", "valid", "validation")
# The most files that check="auto" decodes.
_MOST_DECODED = 20_000


def load_folder(
    path: str | os.PathLike,
    split: str = "train",
    *,
    image_size: int | tuple[int, int] | None = None,
    skip_bad: bool = False,
    num_examples: int | None = None,
    seed: int = 0,
    check: str = "auto",
    max_pixels: int = MAX_PIXELS,
) -> EncodedSource:
    """Find and check the images of a folder.

    The images lie in `path/split/class/*.jpg` (or another suffix, in either
    case: JPEG, PNG, GIF and BMP are read, and WebP, TIFF, AVIF and JPEG 2000
    where Pillow is installed that decodes them; of an animation the first
    frame), in `path/class/*.jpg`, or, unlabelled, in `path/split/*.jpg` or
    `path/*.jpg`. Classes and files are taken in the order of their names; a
    class folder is not searched for further folders; names that begin with a
    dot are ignored. A folder without split folders is the split `"train"`.
    Beside images without class folders may be a `labels.csv`, with a line
    `file,label` and then one for each image.

    Args:
        path: str or path, the folder.
        split: str, the name of a split folder.
        image_size: int or `(H, W)`: images are scaled to cover it and cut
            to their centre. `None` leaves every image its size.
        skip_bad: bool, whether unreadable files, images of other formats and
            what is no regular file are left out, and listed in the source's
            `skipped`, instead of raising an error.
        num_examples: int, or `None` for all: only that many, the first of a
            seeded permutation; the others are not even opened.
        seed: int >= 0, of that permutation.
        check: `"all"`: every file is decoded once, in threads, so that a
            broken one is known before training starts. `"header"`: only the
            ends of each file are read, 100,000 in two seconds; a file
            broken in between is found when its turn comes (see `on_bad` of
            `EncodedSource`), and without `image_size` the images are taken
            to differ in size. `"auto"`: all of up to 20,000 files, else the
            header.
        max_pixels: int, the most pixels of an image; one of more is refused
            by its header, as unreadable, before it is decoded.

    Returns:
        An `EncodedSource`, of `image_shape` `(None, None, 3)` if sizes
        differ. Its `skipped` lists the files left out.

    Raises:
        FileNotFoundError: If the folder or its split is missing.
        MemoryError: If there is not enough memory for an image.
        ValueError: If a class folder is empty, there are no images, an image
            is unreadable or of another format, its name is not UTF-8, or
            `labels.csv` is wrong.

    Example:
    ```python
    source = minc_tf.data.load_folder("photos", "train", image_size=64)
    print(source.class_names, source.skipped)
    ```
    """
    size = parse_image_size(image_size)
    check_int("seed", seed, 0)
    check_choice("check", check, ("auto", "all", "header"))
    check_max_pixels("max_pixels", max_pixels)
    root = pathlib.Path(path)
    check_text("data_dir", root.parent, root.name)
    base = _split_folder(root, split)
    files, labels, class_names, skipped = _list_images(base, skip_bad)
    if num_examples is not None and num_examples < len(files):
        rows = permutation(len(files), seed)[:num_examples]
        files = [files[i] for i in rows]
        labels = None if labels is None else labels[rows]

    decode = check == "all" or (check == "auto" and len(files) <= _MOST_DECODED)
    sizes, good = check_images(
        files,
        files,
        files=True,
        skip_bad=skip_bad,
        where=f"folder {str(base)!r}",
        decode=decode,
        max_pixels=max_pixels,
    )
    skipped += itertools.compress(files, ~good)
    files = list(itertools.compress(files, good))
    if labels is not None:
        labels = labels[good]
    if size is None:
        sizes = sizes[good]
        one_size = decode and np.all(sizes == sizes[0])
        size = tuple(sizes[0]) if one_size else (None, None)
    on_bad = "skip" if skip_bad else "raise"
    return EncodedSource(
        files,
        labels,
        (*size, 3),
        files=True,
        name=root.name,
        split=split,
        class_names=class_names,
        skipped=skipped,
        on_bad=None if decode else on_bad,
        max_pixels=max_pixels,
    )


def is_one_split(path: str | os.PathLike) -> bool:
    """Whether a folder exists and has no folders of splits, not even one."""
    root = pathlib.Path(path)
    return root.is_dir() and not _split_names(root)


def _split_names(root):
    folders = Listing(root).folders
    return [name for name in folders if name.lower() in _SPLIT_NAMES]


def _split_folder(root, split):
    """Return the folder of a split's classes, or of its images."""
    if not root.is_dir():
        raise FileNotFoundError(
            f"data_dir must be an existing folder; there is none at "
            f"{str(root)!r}{_near(root)}"
        )
    if (root / split).is_dir():
        return root / split
    splits = _split_names(root)
    if splits or split != "train":
        have = splits or ["train"]
        whole = "" if splits else ", and as a whole it is the split 'train'"
        raise FileNotFoundError(
            f"split must be one of {', '.join(map(repr, have))}; there is no "
            f"folder {split!r} in {str(root)!r}{whole}; received "
            f"{split!r}{did_you_mean(split, have)}"
        )
    return root


def _near(path):
    """Name the existing sibling that a missing path may stand for."""
    parent = path.absolute().parent
    if not parent.is_dir():
        while not parent.is_dir():
            parent = parent.parent
        return f" (the path exists up to {str(parent)!r})"
    return did_you_mean(path.name, Listing(parent).folders)


def _list_images(base, skip_bad):
    """Sorted paths, labels and class names or `None`, and paths left out."""
    found = Listing(base)
    if found.images and found.folders:
        raise ValueError(
            f"folder {str(base)!r} must hold class folders or images, not "
            f"both; it has {len(found.images)} images (first "
            f"{found.path(found.images[0])!r}) beside folders (first "
            f"{found.folders[0]!r})"
        )
    if found.images or not found.folders:
        return _list_loose(found, skip_bad)
    files, labels, skipped, others = [], [], [], found.others
    for label, name in enumerate(found.folders):
        inner = Listing(found.path(name))
        skipped += _refused(inner, skip_bad)
        others += inner.others
        if not inner.images:
            hint = ""
            if inner.folders:
                hint = f", only folders (first {inner.folders[0]!r})"
            raise ValueError(
                f"class folder {inner.base!r} must hold images "
                f"({_KINDS}); it has none{hint}"
            )
        files += map(inner.path, inner.images)
        labels += [label] * len(inner.images)
    _tell_left_out(base, [*skipped, *others])
    return files, np.array(labels, np.int64), found.folders, skipped


def _list_loose(found, skip_bad):
    """What `_list_images` returns, of a folder without class folders."""
    skipped = _refused(found, skip_bad)
    has_labels = LABEL_FILE in found.others
    if not found.images:
        beside = f", only {LABEL_FILE!r}" if has_labels else ""
        raise ValueError(
            f"folder {found.base!r} must hold class folders or images "
            f"({_KINDS}); it has neither{beside}"
        )
    files = [found.path(name) for name in found.images]
    others = [name for name in found.others if name != LABEL_FILE]
    _tell_left_out(found.base, [*skipped, *others])
    labels = class_names = None
    if not has_labels:
        _check_labels_name(found)
    else:
        labels, class_names = read_label_file(found.base, files)
    return files, labels, class_names, skipped


def _tell_left_out(base, names):
    """Log what in a folder is not read: by kind."""
    if names:
        _LOGGER.info("%s: left out %s", base, count_kinds(names))


def _check_labels_name(found):
    """Refuse a file that is meant to be `labels.csv` and is called otherwise.

    Its images would be taken for unlabelled ones without a word.
    """
    tables = [name for name in found.others if _TABLE.search(name)]
    for name in tables:
        if _LIKE_LABEL_FILE.fullmatch(name):
            raise ValueError(
                f"the labels of the images in {found.base!r} must be in "
                f"{LABEL_FILE!r}; it has {name!r}: rename it, or remove it to "
                "load the images without labels"
            )
    if tables:
        _LOGGER.warning(
            "%s: %s is not read; labels would be in %s",
            found.base,
            tables[0],
            LABEL_FILE,
        )


def _refused(found, skip_bad):
    """Paths of images that are not read, or an error that names one."""
    if found.left_out and not skip_bad:
        name, why = next(iter(found.left_out.items()))
        more = count_kinds(list(found.left_out)[1:])
        raise ValueError(
            f"folder {found.base!r} must hold images that can be read; "
            f"{found.path(name)!r} cannot ({why})"
            f"{f', nor {more} more' if more else ''}; or pass skip_bad=True "
            "to leave them out"
        )
    return [found.path(name) for name in found.left_out]
