"""Random access to record files: TFRecord and ArrayRecord.

A reader answers `len(reader)` and `reader.read(indices)`, and estimates the
bytes of a record. Threads may share it; no file stays open between reads of
TFRecords, as a data set can have more shards than a process may open.
"""

import concurrent.futures
import functools
import os
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minc_tf.data.files import check_regular
from minc_tf.data.records.crc32c import masked_crc32c
from minc_tf.data.records.wire import read_int64

#: The length of a record and its checksum, before it; and one behind it.
HEADER = struct.Struct("<QI")
FOOTER_BYTES = 4
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x78\x9c": "zlib"}
_MAX_OPEN = 256


class Shard(NamedTuple):
    """A file of records, and which of them to use.

    Attributes:
        path: str, the file.
        skip: int, how many records to leave out at its beginning.
        take: int, how many to use then, or `None` for the rest.
    """

    path: str
    skip: int = 0
    take: int | None = None


class TFRecordReader:
    """Records of uncompressed TFRecord files, by their number.

    The place of each record is found once, from the headers alone, whose
    checksums are verified. That of a record is when it is read as a whole.

    Args:
        shards: sequence of `Shard`, in the order of the records.

    Attributes:
        bytes_per_record: float, the average.

    Raises:
        ValueError: If a file is compressed, truncated, no TFRecord file or
            has too few records.

    Example:
    ```python
    reader = TFRecordReader([Shard("a.tfrecord"), Shard("b.tfrecord")])
    serialized = reader.read([len(reader) - 1, 0])
    ```
    """

    def __init__(self, shards: Sequence[Shard]):
        self._paths = [shard.path for shard in shards]
        places = _map_threads(_tfrecord_places, shards)
        counts = [len(offsets) for offsets, _ in places]
        self._files = np.repeat(np.arange(len(shards)), counts)
        self._offsets = np.concatenate([offsets for offsets, _ in places])
        self._lengths = np.concatenate([lengths for _, lengths in places])
        self.bytes_per_record = self._lengths.sum() / max(1, len(self))

    def __len__(self) -> int:
        return len(self._offsets)

    def read(self, indices: Sequence[int]) -> list[bytes]:
        """Return the records of the given numbers, in that order."""
        records = [b""] * len(indices)
        for path, rows, numbers in self._by_file(indices):
            found = [r for _, r in self._each(_bytes_of, path, rows, numbers)]
            contents = [record[:-FOOTER_BYTES] for record in found]
            ends = b"".join(record[-FOOTER_BYTES:] for record in found)
            wrong = masked_crc32c(contents) != np.frombuffer(ends, "<u4")
            if wrong.any():
                raise self._damaged(path, numbers[np.argmax(wrong)])
            for row, record in zip(rows, contents, strict=True):
                records[row] = record
        return records

    def read_int64(self, key: str, indices: Sequence[int]) -> np.ndarray:
        """Return a feature of records, -1 for none, without reading all."""
        function = functools.partial(read_int64, key=key)

        def read_file(job):
            return job[1], [value for _, value in self._each(function, *job)]

        values = np.full(len(indices), -1, np.int64)
        for rows, found in _map_threads(read_file, self._by_file(indices)):
            values[rows] = found
        return values

    def places(self) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Return the files; of each record which one, and its header's byte."""
        return self._paths, self._files, self._offsets - HEADER.size

    def _damaged(self, path, index):
        number = index - np.searchsorted(self._files, self._files[index])
        return ValueError(
            f"{path!r} is damaged: record {number} at byte "
            f"{self._offsets[index] - HEADER.size} does not have the checksum "
            "that was written with it; restore or prepare the file again"
        )

    def _by_file(self, indices):
        """Yield a path, places in `indices` and the indices there, by file."""
        indices = np.asarray(indices, np.int64)
        order = np.lexsort((self._offsets[indices], self._files[indices]))
        numbers, starts = np.unique(
            self._files[indices[order]], return_index=True
        )
        for number, rows in zip(
            numbers, np.split(order, starts[1:]), strict=False
        ):
            yield self._paths[number], rows, indices[rows]

    def _each(self, function, path, rows, indices):
        """Call a function with the place of each record, the file open."""
        with open(path, "rb", buffering=0) as file:
            for row, index in zip(rows, indices, strict=True):
                offset = int(self._offsets[index])
                length = int(self._lengths[index])
                try:
                    value = function(file.fileno(), offset, length)
                except ValueError as error:
                    raise ValueError(f"{path!r}: {error}") from error
                yield row, value


def _bytes_of(descriptor, offset, length):
    """A record and its checksum."""
    record = os.pread(descriptor, length + FOOTER_BYTES, offset)
    if len(record) != length + FOOTER_BYTES:
        raise ValueError(
            f"the file has changed: the record at byte {offset} had {length} "
            f"bytes, of which {min(len(record), length)} are there"
        )
    return record


def _tfrecord_places(shard):
    """Offsets and lengths of the records' contents in one file."""
    path, skip, take = shard
    last = np.inf if take is None else skip + take
    offsets, lengths, headers = [], [], []
    check_regular("data_dir", path)
    with open(path, "rb", buffering=0) as file:
        descriptor, size = file.fileno(), os.fstat(file.fileno()).st_size
        position, extra = 0, HEADER.size + FOOTER_BYTES
        while position < size and len(offsets) < last:
            header = os.pread(descriptor, HEADER.size, position)
            length = HEADER.unpack(header.ljust(HEADER.size, b"\0"))[0]
            end = position + length + extra
            if not position or end > size:
                _check_header(header, position, path)
            if end > size:
                raise ValueError(
                    f"{path!r} is truncated: record {len(offsets)} at byte "
                    f"{position} ends at byte {end} of {size}"
                )
            headers.append(header)
            offsets.append(position + HEADER.size)
            lengths.append(length)
            position = end
    sums = np.frombuffer(b"".join(h[8:] for h in headers), "<u4")
    wrong = np.flatnonzero(masked_crc32c([h[:8] for h in headers]) != sums)
    for number in wrong[:1]:
        _check_header(headers[number], offsets[number] - HEADER.size, path)
    _check_count(path, len(offsets), shard)
    return (
        np.array(offsets[skip:], np.int64),
        np.array(lengths[skip:], np.int64),
    )


def record_places(file) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Find the records of an open `pyarrow.NativeFile`, as far as it is whole.

    Returns offsets and lengths of what they hold, and the fault of the rest.
    """
    offsets, lengths, headers, fault = [], [], [], None
    position, size = 0, file.size()
    while position < size:
        header = file.read_at(HEADER.size, position)
        length = HEADER.unpack(header.ljust(HEADER.size, b"\0"))[0]
        end = position + HEADER.size + length + FOOTER_BYTES
        if end > size:
            fault = "truncated" if position else "no whole TFRecord file"
            break
        headers.append(header)
        offsets.append(position + HEADER.size)
        lengths.append(length)
        position = end
    sums = np.frombuffer(b"".join(h[8:] for h in headers), "<u4")
    wrong = np.flatnonzero(masked_crc32c([h[:8] for h in headers]) != sums)
    if wrong.size:
        fault = f"damaged at byte {offsets[wrong[0]] - HEADER.size}"
        offsets, lengths = offsets[: wrong[0]], lengths[: wrong[0]]
    if fault and not offsets and header[:2] in _COMPRESSED:
        fault = f"compressed with {_COMPRESSED[header[:2]]}"
    return np.array(offsets, np.int64), np.array(lengths, np.int64), fault


def _check_header(header, position, path):
    """Raise if the header's own checksum says that it is none."""
    whole = len(header) == HEADER.size
    if whole and masked_crc32c([header[:8]])[0] == HEADER.unpack(header)[1]:
        return
    if position and not whole:
        return
    if position:
        raise ValueError(
            f"{path!r} is damaged: there is no record at byte {position}, "
            "where the one before ends"
        )
    for magic, kind in _COMPRESSED.items():
        if header.startswith(magic):
            raise ValueError(
                f"{path!r} must be an uncompressed TFRecord file, for random "
                f"access; it looks compressed with {kind}"
            )
    raise ValueError(
        f"{path!r} must be a TFRecord file; it begins with {header!r}"
    )


class ArrayRecordReader:
    """Records of ArrayRecord files, by their number.

    Args:
        shards: sequence of `Shard`, in the order of the records.

    Attributes:
        bytes_per_record: float, the average of the files, compressed.

    Raises:
        ImportError: If the package `array_record` is not installed.
        ValueError: If a file is no ArrayRecord file or has too few records.

    Example:
    ```python
    reader = ArrayRecordReader([Shard("a.array_record", skip=10, take=5)])
    serialized = reader.read([4, 0])
    ```
    """

    def __init__(self, shards: Sequence[Shard]):
        self._shards = list(shards)
        totals = _map_threads(lambda s: _count_array_record(s), self._shards)
        counts = [
            total - shard.skip if shard.take is None else shard.take
            for total, shard in zip(totals, self._shards, strict=True)
        ]
        self._ends = np.cumsum(counts)
        num_bytes = sum(os.path.getsize(shard.path) for shard in shards)
        self.bytes_per_record = num_bytes / max(1, sum(totals))
        # Those that fall out are closed when the last thread lets go of them.
        self._open = functools.lru_cache(_MAX_OPEN)(_open_array_record)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, indices: Sequence[int]) -> list[bytes]:
        """Return the records of the given numbers, in that order."""
        indices = np.asarray(indices, np.int64)
        files = np.searchsorted(self._ends, indices, "right")
        records = [b""] * len(indices)
        for file in np.unique(files):
            rows = np.flatnonzero(files == file)
            shard = self._shards[file]
            first = self._ends[file - 1] if file else 0
            numbers = indices[rows] - first + shard.skip
            try:
                found = self._open(shard.path).read(numbers.tolist())
            except RuntimeError as error:
                raise ValueError(
                    f"{shard.path!r} is damaged: a record of {numbers.min()} "
                    f"to {numbers.max()} cannot be read "
                    f"({str(error).partition(chr(10))[0]})"
                ) from error
            for row, record in zip(rows, found, strict=True):
                records[row] = record
        return records


def _open_array_record(path):
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise ImportError(
            f"{path!r} is read with the package array_record, which is not "
            "installed: pip install array_record (there is none for Windows)"
        ) from error
    check_regular("data_dir", path)
    reader = array_record_module.ArrayRecordReader(
        path,
        "readahead_buffer_size:0,max_parallelism:0",
        file_reader_buffer_size=32768,
    )
    # A file that cannot be read raises nothing and seems empty.
    if not reader.ok():
        raise ValueError(
            f"{path!r} must be an ArrayRecord file; it is another kind of "
            "file, truncated or empty"
        )
    return reader


def _count_array_record(shard):
    reader = _open_array_record(shard.path)
    total = reader.num_records()
    reader.close()
    _check_count(shard.path, total, shard)
    return total


def _check_count(path, found, shard):
    wanted = shard.skip + (shard.take or 0)
    if found < wanted:
        raise ValueError(
            f"{path!r} must hold at least {wanted} records, as the data set's "
            f"description says; it holds {found}"
        )


def _map_threads(function, items):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return list(pool.map(function, items))


READERS = {"tfrecord": TFRecordReader, "arrayrecord": ArrayRecordReader}
