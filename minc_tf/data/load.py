"""One entry for every kind of data set."""

import os

from minc_tf.data.arrays import load_npz
from minc_tf.data.encoded import parse_image_size
from minc_tf.data.folder import load_folder
from minc_tf.data.shapes import IMAGE_SIZE, load_shapes
from minc_tf.data.source import ImageSource, check_count, check_seed
from minc_tf.data.tfds import load_tfds


def load(
    name: str,
    split: str = "train",
    *,
    data_dir: str | os.PathLike | None = None,
    image_size: int | tuple[int, int] | None = None,
    skip_bad: bool = False,
    seed: int = 0,
    num_examples: int | None = None,
) -> ImageSource:
    """Load a data set by name.

    Args:
        name: str: `"shapes"`, the embedded set; `"folder"`, a folder of
            images; `"npz"`, a file of arrays; `"tfds:<name>"` or a bare
            name, a data set of TensorFlow Datasets.
        split: str, usually `"train"` or `"test"`; for TensorFlow Datasets
            also a slice such as `"train[:90%]"`.
        data_dir: str or path: the folder, the `.npz` file, or where
            TensorFlow Datasets keeps its data. Not used by `"shapes"`.
        image_size: int or `(H, W)`: images are scaled to cover it and cut
            to their centre. `None` when all have one size already. Arrays
            and `shapes` are not resized.
        skip_bad: bool, whether unreadable images are left out instead of
            raising an error.
        seed: int >= 0: of the pictures of `shapes`, elsewhere of the choice
            of `num_examples`.
        num_examples: int: of `shapes`, how many pictures to render (default:
            10,000 for `"train"`, 2,000 for `"test"`); elsewhere a cap, the
            first of a seeded permutation.

    Returns:
        An `ImageSource`.

    Raises:
        FileNotFoundError: If `data_dir` or its split does not exist.
        TypeError: If an array has the wrong dtype.
        ValueError: If an argument is out of range, or the data are unfit;
            the message says what would be right.

    Example:
    ```python
    train = minc_tf.data.load("shapes", "train")
    photos = minc_tf.data.load("folder", data_dir="photos", image_size=64)
    cifar = minc_tf.data.load("cifar10", "test")
    ```
    """
    for argument, value in (("name", name), ("split", split)):
        if not isinstance(value, str) or not value:
            raise ValueError(
                f"{argument} must be a non-empty str; received {value!r}"
            )
    check_seed("seed", seed)
    if num_examples is not None:
        check_count("num_examples", num_examples)
    size = parse_image_size(image_size)
    options = {"num_examples": num_examples, "seed": seed}
    if name == "shapes":
        if data_dir is not None:
            raise ValueError(
                "data_dir must be None for 'shapes', which is rendered; "
                f"received {str(data_dir)!r}"
            )
        if size not in (None, (IMAGE_SIZE, IMAGE_SIZE)):
            raise ValueError(
                f"image_size must be None or {IMAGE_SIZE} for 'shapes'; "
                f"received {image_size!r}"
            )
        return load_shapes(split, **options)
    if name in ("folder", "npz"):
        if data_dir is None:
            kind = "folder of images" if name == "folder" else ".npz file"
            raise ValueError(
                f"data_dir must be the path of the {kind} for name={name!r}; "
                "received None"
            )
        if name == "npz":
            return load_npz(data_dir, split, image_size=size, **options)
        return load_folder(
            data_dir, split, image_size=size, skip_bad=skip_bad, **options
        )
    return load_tfds(
        name.removeprefix("tfds:"),
        split,
        data_dir=data_dir,
        image_size=size,
        skip_bad=skip_bad,
        **options,
    )
