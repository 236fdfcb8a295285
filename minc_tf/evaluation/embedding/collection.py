"""What is embedded part by part: a list of images that any process can read.

A collection knows the names of its images, in order; `select` cuts out some,
as an object that can be sent to another process; and `read` yields what each
holds, or what is wrong with it.
"""

import concurrent.futures
import functools
import itertools
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from minc_tf.data import load
from minc_tf.data.files import BadImageError, kind_of_file
from minc_tf.data.formats import IMAGE_SUFFIXES, why_not_read
from minc_tf.data.listing import count_kinds
from minc_tf.evaluation.embedding.named_images import (
    FileImages,
    SourceImages,
    named_images,
    walk,
)
from minc_tf.evaluation.embedding.place import Place, find, is_store
from minc_tf.evaluation.embedding.tables_of_images import (
    ParquetCollection,
    RecordCollection,
)

_LOGGER = logging.getLogger(__name__)

#: How files of records are recognised.
_RECORDS = re.compile(r"\.tfrec[^/]*$|-\d+-of-\d+$", re.IGNORECASE)
_PARQUET = re.compile(r"\.(parquet|pq)$", re.IGNORECASE)

#: Files that are fetched from a store at a time.
_FETCHED = 16


class FileCollection:
    """Image files below one place; `faults`, name to reason, are known bad."""

    class_names = None
    data = None

    def __init__(
        self, place: Place, names: Sequence[str], faults: Mapping[str, str]
    ):
        self.place, self.names, self._faults = place, list(names), dict(faults)
        self.where = place.where

    def __len__(self) -> int:
        return len(self.names)

    def listed(self) -> Sequence[str]:
        """What tells the list from another."""
        return self.names

    def select(self, rows: range) -> "FileCollection":
        """Some of the images."""
        names = [self.names[row] for row in rows]
        faults = {n: self._faults[n] for n in names if n in self._faults}
        return FileCollection(self.place, names, faults)

    def read(self) -> Iterator[tuple[bytes | BadImageError, int]]:
        """Yield the contents, or what is wrong, and the label of each."""
        if not self.place.store:
            yield from map(self._read, self.names)
            return
        with concurrent.futures.ThreadPoolExecutor(_FETCHED) as pool:
            names = iter(self.names)
            while group := list(itertools.islice(names, 2 * _FETCHED)):
                yield from pool.map(self._read, group)

    def _read(self, name):
        if name in self._faults:
            return BadImageError(self._faults[name]), -1
        try:
            return self.place.read(name), -1
        except BadImageError as error:
            return error, -1


class DataCollection:
    """Numbered images of a data set, which each process loads with `data`."""

    def __init__(
        self,
        data: Mapping,
        where: str,
        class_names: Sequence[str] | None,
        names: Sequence[str],
        faults: Sequence[str | None],
        rows: Sequence[int],
    ):
        self.data, self.where, self.class_names = data, where, class_names
        self.names, self._faults, self._rows = names, faults, rows

    def __len__(self) -> int:
        return len(self.names)

    def listed(self) -> Sequence[str]:
        """What tells the list from another."""
        return self.names

    def select(self, rows: range) -> "DataCollection":
        """Some of the images."""
        names, faults, numbers = (
            [values[row] for row in rows]
            for values in (self.names, self._faults, self._rows)
        )
        return DataCollection(
            self.data, self.where, self.class_names, names, faults, numbers
        )

    def read(self) -> Iterator[tuple[np.int64 | BadImageError, int]]:
        """Yield the number, or what is wrong, of each; labels come later."""
        for row, fault in zip(self._rows, self._faults, strict=True):
            yield (BadImageError(fault) if fault else np.int64(row)), -1


def open_collection(
    images: str | os.PathLike | Mapping,
    feature: str | None = None,
    max_pixels: int | None = None,
) -> FileCollection | DataCollection | RecordCollection | ParquetCollection:
    """List the images of a folder, at any depth, pattern, store or data set.

    A data set is given by the arguments of `minc_tf.data.load`, and it alone
    uses `max_pixels`; `feature` is the column of TFRecord or Parquet files.
    """
    if isinstance(images, Mapping):
        return _data_collection(dict(images), feature, max_pixels)
    if not isinstance(images, (str, os.PathLike)):
        raise TypeError(
            "images must be a path, a URI or a dict of arguments of "
            f"minc_tf.data.load; received {type(images).__name__}"
        )
    where = os.fspath(images)
    faults = {}
    if not is_store(where) and os.path.isdir(where):
        place, names = Place(where), []
        for inner, listing in walk(where):
            path = f"{inner}/" if inner else ""
            every = listing.images + listing.others + [*listing.left_out]
            names += [path + name for name in every]
            faults |= {path + n: why for n, why in listing.left_out.items()}
        names.sort()
    else:
        place, names = find(where)
    kinds = {
        "images": [n for n in names if _suffix(n) in IMAGE_SUFFIXES],
        "TFRecord files": [n for n in names if _RECORDS.search(n)],
        "Parquet files": [n for n in names if _PARQUET.search(n)],
    }
    kind = next((kind for kind, found in kinds.items() if found), None)
    if kind is None:
        had = count_kinds(names) or "no file"
        raise ValueError(
            "images must be JPEG, PNG or other images, or TFRecord or Parquet "
            f"files that hold some; received {where!r}, where {had} is"
        )
    found = kinds[kind]
    others = set(names).difference(found)
    if others:
        _LOGGER.info("%s: left out %s", where, count_kinds(others))
    if kind == "images":
        _check_no_feature(feature, "image files")
        if not place.store:
            faults |= _irregular(place, found)
        for name in found:
            if why := why_not_read(_suffix(name)):
                faults.setdefault(name, why)
        return FileCollection(place, found, faults)
    if kind == "Parquet files":
        return ParquetCollection.of_files(place, found, feature)
    return RecordCollection.of_files(place, found, feature)


def _suffix(name):
    return os.path.splitext(name)[1].lower()


def _irregular(place, names):
    """Named pipes and the like, which are not opened."""
    paths = ((name, os.path.join(place.where, name)) for name in names)
    return {
        name: f"{kind_of_file(path)}, no regular file"
        for name, path in paths
        if os.path.exists(path) and not os.path.isfile(path)
    }


def _check_no_feature(feature, of):
    if feature is not None:
        raise ValueError(
            "feature must be None but for TFRecord and Parquet files; received "
            f"{feature!r} for {of}"
        )


def _data_collection(data, feature, max_pixels):
    _check_no_feature(feature, "a data set")
    folder = data.get("data_dir")
    if folder is not None and not is_store(os.fspath(folder)):
        data["data_dir"] = os.path.abspath(os.path.expanduser(folder))
    if max_pixels is not None:
        data["max_pixels"] = max_pixels
    data["skip_bad"] = True
    named = images_of(data)
    names = [*named.names, *(name for name, _ in named.bad)]
    faults = [None] * len(named.names) + [why for _, why in named.bad]
    return DataCollection(
        data, named.where, named.class_names, names, faults, range(len(names))
    )


def images_of(data: Mapping) -> FileImages | SourceImages:
    """Load the images of a data set, by the arguments of its collection."""
    return _loaded(json.dumps(data, default=os.fspath))


@functools.lru_cache(1)
def _loaded(arguments):
    return named_images(load(**json.loads(arguments)))
