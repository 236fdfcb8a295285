"""TensorFlow Datasets, by name or from a folder prepared before.

`tensorflow_datasets` takes seconds to import, so only the functions that need
it do.
"""

import logging
import os
import pathlib

import numpy as np

from minc_tf._checks import check_int, did_you_mean
from minc_tf.data.download import prepare
from minc_tf.data.encoded import EncodedSource, parse_image_size
from minc_tf.data.formats import first_line
from minc_tf.data.labels import check_class_count, like_labels
from minc_tf.data.limits import MAX_PIXELS, check_max_pixels
from minc_tf.data.prepared import (
    INFO,
    check_description,
    choose_prepared,
    find_prepared,
)
from minc_tf.data.records.readers import READERS, Shard
from minc_tf.data.records.source import RecordSource, make_source
from minc_tf.data.subsets import permutation

_LOGGER = logging.getLogger(__name__)

_OTHERS = ("shapes", "folder", "npz", *READERS)


def load_tfds(
    name: str,
    split: str = "train",
    *,
    data_dir: str | os.PathLike | None = None,
    image_size: int | tuple[int, int] | None = None,
    skip_bad: bool = False,
    num_examples: int | None = None,
    seed: int = 0,
    max_bytes: int = 4 * 2**30,
    max_pixels: int = MAX_PIXELS,
) -> EncodedSource | RecordSource:
    """Read a data set of TensorFlow Datasets.

    A folder that TensorFlow Datasets prepared is read in place, without
    network: `data_dir` itself when it holds `dataset_info.json`, or the
    newest version of the data set in it or up to four levels below. Otherwise
    the data set is looked up by name, and downloaded if it has to be: into
    `data_dir` only if that is empty or holds other prepared data sets.

    Images that fit into `max_bytes` are kept in memory, still encoded.
    Others are read from the files at each access. Examples come in the order
    of the files, so that an index always means the same image.

    Args:
        name: str, as in `tfds.load`: `"cifar10"`, `"name/config:1.0.0"`.
        split: str, as the data set calls it (`"validation"` of
            `imagenet2012`, `"unlabelled"` of `stl10`), a slice such as
            `"train[:90%]"` or a sum such as `"train+unlabelled"`.
        data_dir: str or path, or `None` for TensorFlow Datasets' default.
        image_size: int or `(H, W)`: images are scaled to cover it and cut
            to their centre. `None` leaves every image its size.
        skip_bad: bool, whether unreadable images are left out: of those in
            memory every one is decoded once, of larger data another image
            takes the place of one that turns out bad.
        num_examples: int, or `None` for all: only that many, the first of a
            seeded permutation.
        seed: int >= 0, of that permutation.
        max_bytes: int, the largest total size to keep in memory.
        max_pixels: int, the most pixels of an image; one of more is refused
            by its header, as unreadable, before it is decoded.

    Returns:
        An `EncodedSource`, or a `RecordSource` for larger data; unlabelled
        if the data set has no class label or the split has only -1.

    Raises:
        FileNotFoundError: If `data_dir` does not exist.
        ImportError: If `array_record` is needed and not installed.
        ValueError: If name or split is unknown, the data set holds no
            images, cannot be downloaded, or its files are damaged or of
            another format.

    Example:
    ```python
    source = minc_tf.data.load_tfds("cifar10", "train[:90%]")
    ```
    """
    size = parse_image_size(image_size)
    check_int("seed", seed, 0)
    check_max_pixels("max_pixels", max_pixels)
    builder = _builder(name, data_dir)
    total = _count_examples(builder, split)
    image_key, label_key = _feature_keys(builder.info)
    features = builder.info.features
    rows = np.arange(total)
    if num_examples is not None and num_examples < total:
        rows = permutation(total, seed)[:num_examples]
    return make_source(
        _reader(builder, split),
        image_key=image_key,
        label_key=label_key,
        class_names=label_key and _class_names(builder.info, label_key),
        rows=rows,
        size=size,
        known_size=features[image_key].shape[:2],
        skip_bad=skip_bad,
        max_bytes=max_bytes,
        name=builder.info.name,
        split=split,
        max_pixels=max_pixels,
    )


def _builder(name, data_dir):
    import tensorflow_datasets as tfds

    if data_dir is not None:
        data_dir = pathlib.Path(data_dir).expanduser()
        prepared, found = _prepared_folder(name, data_dir)
        if prepared is not None:
            return _open(prepared)
        data_dir = str(data_dir)
    try:
        # Only what is installed: no list of others from the network.
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        place = ""
        if data_dir is not None:
            place = f" nor prepared in {data_dir!r}{_listed(found)}"
        raise ValueError(
            f"name must be one of {', '.join(map(repr, _OTHERS))} or a data "
            f"set of TensorFlow Datasets; {name!r} is not known there{place}"
            f"{did_you_mean(name, [*_OTHERS, *known])}"
        ) from error
    except (ValueError, RuntimeError, AssertionError) as error:
        raise ValueError(
            f"name must be a data set of TensorFlow Datasets, with a config "
            f"and a version that it has; received {name!r} "
            f"({first_line(error)})"
        ) from error
    if not builder.is_prepared():
        if data_dir is not None:
            _check_may_fill(name, data_dir, found)
        prepare(builder, name, data_dir)
    check_description(pathlib.Path(builder.data_dir))
    return builder


def _prepared_folder(name, data_dir):
    """Return the data set's folder or `None`, and all that was found."""
    if not data_dir.is_dir():
        raise FileNotFoundError(
            "data_dir must be an existing folder, prepared by TensorFlow "
            f"Datasets or to be filled by it; there is none at "
            f"{str(data_dir)!r}"
        )
    found = find_prepared(data_dir)
    if (data_dir / INFO).is_file():
        return data_dir, found
    prepared = choose_prepared(found, name, data_dir)
    return prepared and prepared.folder, found


def _open(folder):
    """Return the builder of a prepared folder."""
    import tensorflow_datasets as tfds

    check_description(folder)
    try:
        return tfds.builder_from_directory(folder)
    except MemoryError:
        raise
    except Exception as error:
        # JSON, but not that of a data set, in ways that have no end.
        raise ValueError(
            f"data_dir must be prepared by TensorFlow Datasets; the "
            f"description in {str(folder / INFO)!r} or beside it is damaged "
            f"({type(error).__name__}: {first_line(error)})"
        ) from error


def _check_may_fill(name, data_dir, found):
    """Refuse to download into a folder that is meant for something else."""
    root = pathlib.Path(data_dir)
    # A folder that TensorFlow Datasets fills has the names of data sets in it.
    ours = [p for p in found if p.folder.relative_to(root).parts[0] == p.name]
    if found and len(ours) == len(found):
        return
    names = (entry.name for entry in root.iterdir())
    others = [n for n in names if n != "downloads" and not n.startswith(".")]
    if found or others:
        raise ValueError(
            f"data_dir must hold {name!r}, prepared by TensorFlow Datasets, or "
            f"be empty to be filled; {data_dir!r} holds other things"
            f"{_listed(found) or f' (such as {min(others)!r})'}"
        )


def _listed(found):
    """Name the data sets that were found."""
    if not found:
        return ""
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f" (prepared there: {', '.join(map(str, found[:3]))}{more})"


def _count_examples(builder, split):
    splits = builder.info.splits
    base = split.split("[")[0]
    if not all(part in (*splits, "all") for part in base.split("+")):
        raise ValueError(
            f"split must be one of {', '.join(map(repr, splits))}, or a slice "
            f"such as 'train[:90%]', for {builder.info.full_name}; received "
            f"{split!r}{did_you_mean(base, splits)}"
        )
    try:
        total = splits[split].num_examples
    except (ValueError, AssertionError, KeyError) as error:
        raise ValueError(
            f"split must be a name or a slice such as 'train[:90%]'; received "
            f"{split!r} ({str(error).splitlines()[0]})"
        ) from error
    if not total:
        raise ValueError(
            f"split must hold at least one example; {split!r} of "
            f"{builder.info.full_name} is empty"
        )
    return total


def _feature_keys(info):
    """Return the names of the image and of the label feature or `None`."""
    import tensorflow_datasets as tfds

    features = dict(info.features.items())
    supervised = info.supervised_keys or (None, None)
    found = [
        key
        for key, feature in features.items()
        if isinstance(feature, tfds.features.Image)
    ]
    preferred = [k for k in (supervised[0], "image") if k in found]
    if not preferred and len(found) != 1:
        raise ValueError(
            f"name must be a data set with an image feature; "
            f"{info.full_name} has {', '.join(sorted(features))}"
        )
    image_key = (preferred or found)[0]
    if features[image_key].np_dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"name must be a data set of 8- or 16-bit images; {image_key!r} "
            f"of {info.full_name} is {features[image_key].np_dtype}"
        )
    for key in (supervised[1], "label"):
        if isinstance(features.get(key), tfds.features.ClassLabel):
            return image_key, key
    if wrong := like_labels(features):
        _LOGGER.warning(
            "%s has no labels that are read: feature %r is no ClassLabel",
            info.full_name,
            wrong,
        )
    return image_key, None


def _class_names(info, label_key):
    """The names of the classes; those without are named by their number."""
    label = info.features[label_key]
    images = sum(split.num_examples for split in info.splits.values())
    # Names of a file are there; others are made, one for each number.
    if getattr(label, "_int2str", None) is None:
        check_class_count(label.num_classes, images)
    return label.names


def _reader(builder, split):
    """Return a reader of the split's records, shard after shard."""
    file_format = builder.info.file_format.value
    kind = file_format.replace("_", "")
    if kind not in READERS:
        raise ValueError(
            "name must be a data set prepared as tfrecord or array_record "
            f"files; {builder.info.full_name} is prepared as {file_format}"
        )
    return READERS[kind](
        [
            Shard(str(part.filename), part.skip, part.take)
            for part in builder.info.splits[split].file_instructions
        ]
    )
