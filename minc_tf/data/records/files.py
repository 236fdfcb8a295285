"""Plain files of `tf.train.Example`: TFRecord and ArrayRecord."""

import glob
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from minc_tf._checks import check_choice, check_int, did_you_mean
from minc_tf.data.encoded import EncodedSource, parse_image_size
from minc_tf.data.files import check_regular
from minc_tf.data.labels import like_labels
from minc_tf.data.limits import MAX_PIXELS, check_max_pixels
from minc_tf.data.records.readers import READERS, Shard
from minc_tf.data.records.source import RecordSource, make_source
from minc_tf.data.subsets import permutation

_IMAGE_KEYS = ("image", "image/encoded")
_LABEL_KEYS = ("label", "image/class/label")
_SPLITS = ("train", "training", "test", "val", "valid", "validation")
# How the files of a folder are recognised: by format, or as shards.
_NAMES = {"tfrecord": r"\.tfrec", "arrayrecord": r"\.array_?rec"}
_SHARD = r"-\d+-of-\d+$"


def load_records(
    file_format: str,
    path: str | os.PathLike,
    split: str = "train",
    *,
    image_size: int | tuple[int, int] | None = None,
    skip_bad: bool = False,
    num_examples: int | None = None,
    seed: int = 0,
    max_bytes: int = 4 * 2**30,
    max_pixels: int = MAX_PIXELS,
) -> EncodedSource | RecordSource:
    """Read TFRecord or ArrayRecord files of serialized `tf.train.Example`s.

    An example has the encoded image in its feature `image` or
    `image/encoded`, and may have an int64 label in `label` or
    `image/class/label`. Examples come in the order of the files' names.

    Images that fit into `max_bytes` are kept in memory, still encoded, and
    decoded once to check them. Others are read from the files at each access.

    Args:
        file_format: `"tfrecord"` or `"arrayrecord"`.
        path: str or path: a file, a folder or a pattern such as
            `"photos/*.tfrecord"`. The files of a split lie in a folder of
            its name, or have it in their names, as in
            `photos-train-00000-of-00004`. Files without the name of a split
            are the split `"train"`.
        split: str.
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
        An `EncodedSource`, or a `RecordSource` for larger data.

    Raises:
        FileNotFoundError: If there are no such files.
        ImportError: If `array_record` is needed and not installed.
        ValueError: If a file is empty, damaged or of another format, its
            examples have no image, or an image is unreadable.

    Example:
    ```python
    source = minc_tf.data.load_records("tfrecord", "photos", image_size=64)
    ```
    """
    check_choice("file_format", file_format, READERS)
    size = parse_image_size(image_size)
    check_int("seed", seed, 0)
    check_max_pixels("max_pixels", max_pixels)
    files = _split_files(file_format, str(path), split)
    reader = READERS[file_format]([Shard(file) for file in files])
    if not len(reader):
        raise ValueError(
            f"data_dir must hold at least one record; {files[0]!r}"
            f"{f' and {len(files) - 1} more' if files[1:] else ''} hold none"
        )
    image_key, label_key = feature_keys(reader, files)
    rows = np.arange(len(reader))
    if num_examples is not None and num_examples < len(rows):
        rows = permutation(len(rows), seed)[:num_examples]
    return make_source(
        reader,
        image_key=image_key,
        label_key=label_key,
        class_names=None,
        rows=rows,
        size=size,
        known_size=None,
        skip_bad=skip_bad,
        max_bytes=max_bytes,
        name=_name(str(path)),
        split=split,
        max_pixels=max_pixels,
    )


def _split_files(file_format, path, split):
    """Return the sorted paths of the files of one split."""
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        inner = os.path.join(path, split)
        own = os.path.isdir(inner)
        files = _record_files(file_format, inner if own else path)
        if own and files:
            return files
        what = "folder of record files"
    else:
        files = sorted(f for f in glob.glob(path) if os.path.isfile(f))
        if not files and os.path.exists(path):
            check_regular("data_dir", path)
            files = [path]
        what = "file, folder or pattern"
    if not files:
        raise FileNotFoundError(
            f"data_dir must be a {what} for name={file_format!r}; there are "
            f"none of its files at {path!r}"
        )
    # A word in the name of a file tells its split.
    named = {
        word: found
        for word in dict.fromkeys((*_SPLITS, split))
        if (found := [file for file in files if _has_word(file, word)])
    }
    if split in named:
        return named[split]
    if split == "train" and not named:
        return files
    have = list(named) or ["train"]
    raise FileNotFoundError(
        f"split must be one of {', '.join(map(repr, have))}, after which the "
        f"files of {path!r} are named; received {split!r}"
        f"{did_you_mean(split, have)}"
    )


def _record_files(file_format, folder):
    names = sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_file() and not entry.name.startswith(".")
    )
    others = "|".join(v for k, v in _NAMES.items() if k != file_format)
    names = [name for name in names if not re.search(others, name)]
    for pattern in (_NAMES[file_format], _SHARD):
        found = [name for name in names if re.search(pattern, name)]
        if found:
            return [os.path.join(folder, name) for name in found]
    return []


def _has_word(file, word):
    pattern = rf"(?<![a-z0-9]){re.escape(word.lower())}(?![a-z0-9])"
    return re.search(pattern, os.path.basename(file).lower()) is not None


def feature_keys(
    reader, files: Sequence[str], image_keys: Sequence[str] | None = None
) -> tuple[str, str | None]:
    """Find the features of image and label in some of many records.

    `image_keys` are what the image's may be called; `None`: the usual names.
    """
    image_keys = image_keys or _IMAGE_KEYS
    rows = np.unique(np.linspace(0, len(reader) - 1, 16).astype(int))
    kinds = {}
    for record in reader.read(rows):
        try:
            example = tf.train.Example.FromString(record)
        except DecodeError as error:
            raise ValueError(
                "records must be serialized tf.train.Example; those of "
                f"{files[0]!r} are not ({error})"
            ) from error
        for key, feature in example.features.feature.items():
            kinds[key] = feature.WhichOneof("kind") or kinds.get(key)
    keys = [_find(kinds, names) for names in (image_keys, _LABEL_KEYS)]
    listed = ", ".join(f"{k} ({kinds[k]})" for k in sorted(kinds)) or "none"
    wanted = ("bytes_list", "int64_list")
    for key, kind in zip(keys, wanted, strict=True):
        if key is not None and kinds[key] not in (kind, None):
            raise ValueError(
                f"feature {key!r} must be a {kind} in the records of "
                f"{files[0]!r}; it is a {kinds[key]}"
            )
    wrong = like_labels(key for key in kinds if key != keys[0])
    if keys[1] is None and wrong is not None and keys[0] is not None:
        raise ValueError(
            "the labels must be the feature "
            f"{' or '.join(map(repr, _LABEL_KEYS))} of the records of "
            f"{files[0]!r}; they have {wrong!r}: rename it, or remove it to "
            "read the images without labels"
        )
    if keys[0] is None:
        raise ValueError(
            f"records must have a feature {' or '.join(map(repr, image_keys))}"
            f" with the encoded image; those of {files[0]!r} have {listed}"
        )
    return keys[0], keys[1]


def _find(kinds, names):
    return next((name for name in names if name in kinds), None)


def _name(path):
    """Name the data set after its folder, or its file."""
    path = pathlib.Path(path)
    return path.name.split(".")[0] if path.is_file() else path.name
