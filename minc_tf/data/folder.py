"""A folder of image files."""

import itertools
import os
import pathlib

import numpy as np

from minc_tf.data.encoded import (
    EncodedSource,
    check_images,
    common_size,
    parse_image_size,
)
from minc_tf.data.source import check_seed, did_you_mean, permutation

SUFFIXES = (".jpg", ".jpeg", ".png")
_SPLIT_NAMES = ("train", "training", "test", "val", "valid", "validation")


def load_folder(
    path: str | os.PathLike,
    split: str = "train",
    *,
    image_size: int | tuple[int, int] | None = None,
    skip_bad: bool = False,
    num_examples: int | None = None,
    seed: int = 0,
) -> EncodedSource:
    """Find and check the images of a folder.

    The images lie in `path/split/class/*.jpg` (or `.jpeg`, `.png`, in either
    case), in `path/class/*.jpg`, or, unlabelled, in `path/split/*.jpg` or
    `path/*.jpg`. Classes and files are taken in the order of their names; a
    class folder is not searched for further folders; names that begin with a
    dot are ignored. A folder without split folders is the split `"train"`.

    Every file is decoded once, in threads, so that a broken one is known
    before training starts.

    Args:
        path: str or path, the folder.
        split: str, the name of a split folder.
        image_size: int or `(H, W)`: images are scaled to cover it and cut
            to their centre. `None` when all have one size already.
        skip_bad: bool, whether unreadable files are left out, and listed in
            the source's `skipped`, instead of raising an error.
        num_examples: int, or `None` for all: only that many, the first of a
            seeded permutation; the others are not even opened.
        seed: int >= 0, of that permutation.

    Returns:
        An `EncodedSource`. Its `skipped` lists the files left out.

    Raises:
        FileNotFoundError: If the folder or its split is missing.
        ValueError: If a class folder is empty, there are no images, an image
            is unreadable, or sizes differ and `image_size` is `None`.

    Example:
    ```python
    source = minc_tf.data.load_folder("photos", "train", image_size=64)
    print(source.class_names, source.skipped)
    ```
    """
    size = parse_image_size(image_size)
    check_seed("seed", seed)
    root = pathlib.Path(path)
    base = _split_folder(root, split)
    files, labels, class_names = _list_images(base)
    if num_examples is not None and num_examples < len(files):
        rows = permutation(len(files), seed)[:num_examples]
        files = [files[i] for i in rows]
        labels = None if labels is None else labels[rows]

    where = f"folder {str(base)!r}"
    sizes, good = check_images(
        files, files, files=True, skip_bad=skip_bad, where=where
    )
    skipped = list(itertools.compress(files, ~good))
    files = list(itertools.compress(files, good))
    if labels is not None:
        labels = labels[good]
    if size is None:
        size = common_size(sizes[good], files, where)
    return EncodedSource(
        files,
        labels,
        (*size, 3),
        files=True,
        name=root.name,
        split=split,
        class_names=class_names,
        skipped=skipped,
    )


def _split_folder(root, split):
    """Return the folder of a split's classes, or of its images."""
    if not root.is_dir():
        raise FileNotFoundError(
            f"data_dir must be an existing folder; there is none at "
            f"{str(root)!r}{_near(root)}"
        )
    if (root / split).is_dir():
        return root / split
    folders = [folder.name for folder in _folders(root)]
    splits = [name for name in folders if name.lower() in _SPLIT_NAMES]
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
    return did_you_mean(path.name, [f.name for f in _folders(parent)])


def _list_images(base):
    """Sorted paths, labels or `None`, and class names or `None`."""
    loose = _images(base)
    classes = _folders(base)
    if loose and classes:
        raise ValueError(
            f"folder {str(base)!r} must hold class folders or images, not "
            f"both; it has {len(loose)} images (first {loose[0]!r}) beside "
            f"folders (first {classes[0].name!r})"
        )
    if not loose and not classes:
        raise ValueError(
            f"folder {str(base)!r} must hold class folders or images "
            f"({', '.join(SUFFIXES)}); it has neither"
        )
    if loose:
        return loose, None, None
    files, labels = [], []
    for label, folder in enumerate(classes):
        found = _images(folder)
        if not found:
            inner = _folders(folder)
            hint = f", only folders (first {inner[0].name!r})" if inner else ""
            raise ValueError(
                f"class folder {str(folder)!r} must hold images "
                f"({', '.join(SUFFIXES)}); it has none{hint}"
            )
        files += found
        labels += [label] * len(found)
    return files, np.array(labels, np.int64), [c.name for c in classes]


def _images(folder):
    with os.scandir(folder) as entries:
        return sorted(
            entry.path
            for entry in entries
            if entry.name.lower().endswith(SUFFIXES)
            and not entry.name.startswith(".")
            and not entry.is_dir()
        )


def _folders(folder):
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))
    )
