"""One entry for every kind of data set."""

import os
import pathlib
from collections.abc import Sequence

from minc_tf._checks import check_int, refusal
from minc_tf.data.arrays import load_npz
from minc_tf.data.classes import select_classes
from minc_tf.data.encoded import parse_image_size
from minc_tf.data.folder import load_folder
from minc_tf.data.limits import MAX_PIXELS, check_max_pixels
from minc_tf.data.records.files import load_records
from minc_tf.data.records.readers import READERS
from minc_tf.data.shapes import IMAGE_SIZE, load_shapes
from minc_tf.data.slices import parse_slice, rows_of_slice
from minc_tf.data.source import ImageSource
from minc_tf.data.tfds import load_tfds

#: What is sliced here: an `.npz` file is when it is read, and TensorFlow
#: Datasets has slices of its own.
_SLICED = ("shapes", "folder", *READERS)
_KINDS = ("npz", *_SLICED)


def load(
    name: str | os.PathLike,
    split: str = "train",
    *,
    data_dir: str | os.PathLike | None = None,
    image_size: int | tuple[int, int] | None = None,
    skip_bad: bool = False,
    seed: int = 0,
    num_examples: int | None = None,
    classes: str | os.PathLike | Sequence[str | int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> ImageSource:
    """Load a data set by name.

    Args:
        name: str: `"shapes"`, the embedded set; `"folder"`, a folder of
            images; `"npz"`, a file of arrays; `"tfrecord"` or
            `"arrayrecord"`, files of `tf.train.Example` (see
            `load_records`); `"tfds:<name>"` or a bare name, a data set of
            TensorFlow Datasets (see `load_tfds`). Also the path of a folder
            or of an `.npz` file: `"../photos"`, or `"photos"` where that is a
            folder here; `"tfds:photos"` is the data set in any case.
        split: str, usually `"train"` or `"test"`, or a slice such as
            `"train[:90%]"`; for TensorFlow Datasets also a sum such as
            `"train+unlabelled"`. Its slices are those of TensorFlow Datasets;
            elsewhere each has its share of each class, drawn at random but
            always the same, and `"train[:90%]"` and `"train[90%:]"` have no
            image in common.
        data_dir: str or path: the folder, the `.npz` file, the record files
            (one, a folder or a pattern), or where TensorFlow Datasets keeps
            its data. Not used by `"shapes"`.
        image_size: int or `(H, W)`: images are scaled to cover it and cut
            to their centre. `None` leaves every image its size. Arrays and
            `shapes` are not resized.
        skip_bad: bool, whether unreadable images are left out instead of
            raising an error.
        seed: int >= 0: of the pictures of `shapes`, elsewhere of the choice
            of `num_examples`.
        num_examples: int: of `shapes`, how many pictures to render (default:
            10,000 for `"train"`, 2,000 for `"test"`); elsewhere a cap, the
            first of a seeded permutation.
        classes: sequence of class names or numbers, or the path of a text
            file with one name a line: only the images of these classes,
            labelled in this order. `num_examples` caps what is left.
        max_pixels: int, the most pixels of an encoded image; one of more is
            refused by its header, as unreadable, before it is decoded. Of no
            use to arrays and `shapes`.

    Returns:
        An `ImageSource`.

    Raises:
        FileNotFoundError: If `data_dir`, its split or the file of `classes`
            does not exist.
        ImportError: If a package is missing that reads the data.
        MemoryError: If there is not enough memory for an image.
        TypeError: If an array has the wrong dtype.
        ValueError: If an argument is out of range, or the data are unfit;
            the message says what would be right.

    Example:
    ```python
    train = minc_tf.data.load("shapes", "train")
    photos = minc_tf.data.load("folder", data_dir="photos", image_size=64)
    photos = minc_tf.data.load("../photos", image_size=64)
    cifar = minc_tf.data.load("cifar10", "test")
    some = minc_tf.data.load("cifar10", classes=["cat", "dog"])
    ```
    """
    if data_dir is None:
        name, data_dir = _find_path(name)
    for argument, value in (("name", name), ("split", split)):
        if not isinstance(value, str) or not value:
            raise refusal(argument, "a non-empty str", value)
    check_int("seed", seed, 0)
    if num_examples is not None:
        check_int("num_examples", num_examples, 1)
    check_max_pixels("max_pixels", max_pixels)
    size = parse_image_size(image_size)
    base, bounds = parse_slice(split) if name in _SLICED else (split, None)
    # Of the shapes it says how many there are.
    early = classes is None and (bounds is None or name == "shapes")
    cap = num_examples if early else None
    encoded = {"skip_bad": skip_bad, "max_pixels": max_pixels}
    source = _load(name, base, data_dir, size, encoded, seed=seed, cap=cap)
    if bounds is not None:
        rows = rows_of_slice(source, split, bounds)
        source = source._replace_rows(rows)
        source.split = split
    if classes is not None:
        source = select_classes(source, classes)
    if early:
        return source
    if num_examples is not None and num_examples < len(source):
        source = source.subset(num_examples, seed)
    return source


def _find_path(name):
    """A name that is a path, as the kind of its data and the path."""
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        return name, None
    path = os.path.expanduser(os.fspath(name))
    if not isinstance(path, str) or path in _KINDS or path.startswith("tfds:"):
        return name, None
    if os.path.isdir(path):
        folder = pathlib.Path(path)
        # What TensorFlow Datasets prepared here goes by its name, too.
        prepared = any(
            any(folder.glob(f"{below}dataset_info.json"))
            for below in ("", "*/", "*/*/")
        )
        return (name, None) if prepared else ("folder", path)
    if os.path.isfile(path) and path.endswith(".npz"):
        return "npz", path
    # Names of TensorFlow Datasets have slashes, too: "name/config:1.0.0".
    relative = path.startswith((".", os.sep))
    if relative or os.path.exists(path) or not isinstance(name, str):
        what = "is no folder" if os.path.exists(path) else "does not exist"
        raise FileNotFoundError(
            f"name must be a data set or the path of a folder or an .npz "
            f"file; {path!r} {what}. Other files are read by kind, as in "
            'load("tfrecord", data_dir=...)'
        )
    return name, None


def _load(name, split, data_dir, size, encoded, *, seed, cap):
    options = {"num_examples": cap, "seed": seed}
    if name == "shapes":
        if data_dir is not None:
            raise refusal(
                "data_dir", "None for 'shapes', which is rendered", data_dir
            )
        if size not in (None, (IMAGE_SIZE, IMAGE_SIZE)):
            raise refusal(
                "image_size", f"None or {IMAGE_SIZE} for 'shapes'", size
            )
        return load_shapes(split, **options)
    kinds = {
        "folder": "folder of images",
        "npz": ".npz file",
        **dict.fromkeys(READERS, "record files"),
    }
    if name in kinds and data_dir is None:
        raise refusal(
            "data_dir", f"the path of the {kinds[name]} for {name=}", data_dir
        )
    if name == "npz":
        return load_npz(data_dir, split, image_size=size, **options)
    options |= {"image_size": size, **encoded}
    if name == "folder":
        return load_folder(data_dir, split, **options)
    if name in READERS:
        return load_records(name, data_dir, split, **options)
    name = name.removeprefix("tfds:")
    return load_tfds(name, split, data_dir=data_dir, **options)
