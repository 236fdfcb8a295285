"""Collections whose images lie in TFRecord or Parquet files, many in each."""

import concurrent.futures
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from google.protobuf.message import DecodeError

from minc_tf._checks import did_you_mean
from minc_tf.data.files import BadImageError
from minc_tf.data.records.crc32c import masked_crc32c
from minc_tf.data.records.files import feature_keys
from minc_tf.data.records.readers import FOOTER_BYTES, record_places
from minc_tf.evaluation.embedding.place import Place

#: Records that lie near each other are read at once, up to so many bytes.
_SPAN = 2**23
#: Rows of a Parquet file that are held at a time.
_ROWS = 64

_COLUMNS = ("image", "image/encoded", "bytes", "content")
_LABELS = ("label", "image/class/label")


class _Rows:
    """Numbered images of files: `number` -1 is what is wrong with a file."""

    class_names = None
    data = None

    def __init__(
        self,
        place: Place,
        files: Sequence[str],
        keys: tuple[str, str | None],
        faults: Mapping[str, str],
        **columns: np.ndarray,
    ):
        self.place, self.files, self.keys = place, list(files), keys
        self.where, self._faults, self._columns = place.where, faults, columns

    def __len__(self) -> int:
        return len(self._columns["number"])

    @property
    def names(self) -> list[str]:
        """Of each image the file and its number there."""
        rows = zip(
            self._columns["file"].tolist(),
            self._columns["number"].tolist(),
            strict=True,
        )
        return [
            f"{self.files[file]}/{number:06d}"
            if number >= 0
            else self.files[file]
            for file, number in rows
        ]

    def listed(self) -> list[str]:
        """What tells the list from another, without the name of each."""
        counts = np.bincount(self._columns["file"], minlength=len(self.files))
        return [f"{n}: {c}" for n, c in zip(self.files, counts, strict=True)]

    def select(self, rows: range):
        """Some of the images."""
        cut = slice(rows.start, rows.stop, rows.step)
        columns = {key: value[cut] for key, value in self._columns.items()}
        used, columns["file"] = np.unique(columns["file"], return_inverse=True)
        files = [self.files[file] for file in used]
        faults = {f: self._faults[f] for f in files if f in self._faults}
        return type(self)(self.place, files, self.keys, faults, **columns)

    def read(self) -> Iterator[tuple[bytes | BadImageError, int]]:
        """Yield the contents, or what is wrong, and the label of each."""
        order = self._columns["file"]
        for file, rows in itertools.groupby(
            range(len(self)), lambda row: order[row]
        ):
            rows = list(rows)
            name = self.files[file]
            faulty = self._columns["number"][rows[-1]] < 0
            if good := rows[: len(rows) - faulty]:
                yield from self._read_file(name, good)
            if faulty:
                yield BadImageError(self._faults[name]), -1

    def _opened(self, name):
        try:
            return self.place.open(name)
        except (FileNotFoundError, PermissionError) as error:
            self.place.check_there()
            raise BadImageError("unreadable") from error


class RecordCollection(_Rows):
    """Records of TFRecord files, each a `tf.train.Example`."""

    @classmethod
    def of_files(
        cls, place: Place, files: Sequence[str], feature: str | None
    ) -> "RecordCollection":
        """Find the records of files, and the features of image and label."""

        def scan(name):
            with place.open(name) as file:
                return record_places(file)

        found = _map(scan, files)
        faults = {
            name: fault
            for name, (_, _, fault) in zip(files, found, strict=True)
            if fault
        }
        columns = {"file": [], "number": [], "offset": [], "length": []}
        for index, (offsets, lengths, fault) in enumerate(found):
            bad = [-1] * bool(fault)
            number = [*range(len(offsets)), *bad]
            columns["file"].append(np.full(len(number), index))
            columns["number"].append(number)
            columns["offset"].append([*offsets, *bad])
            columns["length"].append([*lengths, *bad])
        columns = {k: np.concatenate(v) for k, v in columns.items()}
        columns = {k: v.astype(np.int64) for k, v in columns.items()}
        _check_some(columns["number"], place, files, faults)
        everything = cls(place, files, (None, None), faults, **columns)
        everything.keys = feature_keys(
            _Readable(everything), files, feature and (feature,)
        )
        return everything

    def _read_file(self, name, rows):
        for record in self.records(name, rows):
            if isinstance(record, BadImageError):
                yield record, -1
            else:
                yield self._parsed(record)

    def records(
        self, name: str, rows: Sequence[int]
    ) -> Iterator[bytes | BadImageError]:
        """Yield the records of some rows, all of one file."""
        offsets = self._columns["offset"]
        ends = offsets + self._columns["length"] + FOOTER_BYTES
        try:
            opened = self._opened(name)
        except BadImageError as error:
            yield from [error] * len(rows)
            return
        with opened as file:
            while rows:
                start, count = offsets[rows[0]], 1
                while count < len(rows) and ends[rows[count]] - start < _SPAN:
                    count += 1
                here, rows = rows[:count], rows[count:]
                span = file.read_at(int(ends[here[-1]] - start), int(start))
                yield from _checked(
                    [span[offsets[r] - start : ends[r] - start] for r in here]
                )

    def _parsed(self, record):
        image, label = self.keys
        try:
            features = tf.train.Example.FromString(record).features.feature
        except DecodeError:
            return BadImageError("no tf.train.Example"), -1
        values = features[image].bytes_list.value if image in features else ()
        labels = features[label].int64_list.value if label in features else ()
        label = labels[0] if labels else -1
        if not values:
            return BadImageError(f"no feature {image!r}"), label
        return values[0], label


class _Readable:
    """The records of a collection that can be read, by number."""

    def __init__(self, collection):
        self._all = collection

    def __len__(self):
        return len(self._all)

    def read(self, rows):
        """Return those that are whole."""
        found = []
        for row in rows:
            one = self._all.select(range(row, row + 1))
            if one._columns["number"][0] >= 0:
                found += one.records(one.files[0], [0])
        found = [record for record in found if isinstance(record, bytes)]
        # If none is an example, the whole is another kind of files.
        return [*filter(_is_example, found)] or found


def _is_example(record):
    try:
        return bool(tf.train.Example.FromString(record))
    except DecodeError:
        return False


def _checked(spans):
    """Records, or what is wrong with them, of their bytes with checksums."""
    contents = [span[:-FOOTER_BYTES] for span in spans]
    sums = masked_crc32c(contents).astype("<u4")
    for span, content, checksum in zip(spans, contents, sums, strict=True):
        whole = span[-FOOTER_BYTES:] == checksum.tobytes()
        yield content if whole else BadImageError("damaged: its record")


class ParquetCollection(_Rows):
    """Rows of Parquet files, of which a column holds encoded images."""

    @classmethod
    def of_files(
        cls, place: Place, files: Sequence[str], feature: str | None
    ) -> "ParquetCollection":
        """Count the rows of files, and find the columns of image and label."""

        def scan(name):
            try:
                with place.open(name) as file, pq.ParquetFile(file) as table:
                    return table.metadata.num_rows, table.schema_arrow
            except pa.ArrowInvalid:
                return 0, None

        found = _map(scan, files)
        schema = next((schema for _, schema in found if schema), None)
        keys = (feature, None) if schema is None else _keys(schema, feature)
        faults, indices, numbers = {}, [], []
        for index, (name, (rows, schema)) in enumerate(
            zip(files, found, strict=True)
        ):
            if schema is None:
                faults[name] = "no Parquet file, or damaged"
            elif not _is_image(schema, keys[0]):
                faults[name] = f"no column {keys[0]!r} of bytes"
            number = [-1] if name in faults else range(rows)
            numbers.append(np.array(number, np.int64))
            indices.append(np.full(len(number), index))
        columns = {
            "file": np.concatenate(indices),
            "number": np.concatenate(numbers),
        }
        _check_some(columns["number"], place, files, faults)
        return cls(place, files, keys, faults, **columns)

    def _read_file(self, name, rows):
        numbers = self._columns["number"][rows]
        try:
            opened = self._opened(name)
            with opened, pq.ParquetFile(opened) as table:
                groups = [
                    table.metadata.row_group(i).num_rows
                    for i in range(table.num_row_groups)
                ]
                for group, end in enumerate(np.cumsum(groups)):
                    start = end - groups[group]
                    wanted = numbers[(start <= numbers) & (numbers < end)]
                    if wanted.size:
                        yield from self._read_group(
                            table, group, wanted - start
                        )
        except BadImageError as error:
            yield from [(error, -1)] * len(rows)

    def _read_group(self, table, group, numbers):
        """Images and labels of some rows of a row group."""
        given = 0
        try:
            batches = table.iter_batches(
                _ROWS, [group], [key for key in self.keys if key]
            )
            first = 0
            for batch in batches:
                last = first + len(batch)
                here = numbers[(first <= numbers) & (numbers < last)] - first
                first = last
                for image, label in self._values(batch.take(pa.array(here))):
                    given += 1
                    yield image, label
        except (pa.ArrowInvalid, OSError) as error:
            # What a store does not send is not the file's fault.
            if isinstance(error, OSError) and (self.place.store or error.errno):
                raise
            fault = BadImageError("damaged: its row group")
            yield from [(fault, -1)] * (len(numbers) - given)

    def _values(self, batch):
        image, label = self.keys
        column = batch[image]
        if pa.types.is_struct(column.type):
            column = column.field("bytes")
        labels = itertools.repeat(-1)
        if label is not None and label in batch.schema.names:
            labels = batch[label].cast(pa.int64()).fill_null(-1).to_pylist()
        for value, number in zip(column, labels, strict=False):
            yield value.as_py() or b"", number


def _keys(schema, feature):
    """The columns of image and label, or an error that tells what there is."""
    images = [name for name in schema.names if _is_image(schema, name)]
    usual = [name for name in _COLUMNS if name in images]
    if feature is not None and feature not in images:
        raise ValueError(
            f"feature must be a column of bytes, one of {images}; received "
            f"{feature!r}{did_you_mean(feature, images)}"
        )
    if feature is None and not usual and len(images) != 1:
        raise ValueError(
            "images must be a column of bytes, named 'image', or by "
            f"--feature; received the columns {', '.join(schema.names)}"
        )
    label = next(
        (
            name
            for name in _LABELS
            if name in schema.names
            and pa.types.is_integer(schema.field(name).type)
        ),
        None,
    )
    return feature or (usual or images)[0], label


def _is_image(schema, name):
    """Whether a column holds bytes, or, as in some data sets, {bytes, path}."""
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_bytes(kind.field(index).type)
    return _is_bytes(kind)


def _is_bytes(kind):
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _check_some(numbers, place, files, faults):
    if not (numbers >= 0).any():
        why = f" ({next(iter(faults.values()))})" if faults else ""
        raise ValueError(
            f"images must be one or more; received {len(files)} files in "
            f"{place.where!r} that hold none, the first {files[0]!r}{why}"
        )


def _map(function, items):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return list(pool.map(function, items))
