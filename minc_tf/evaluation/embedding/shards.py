"""The vectors of one or many Parquet files, read block by block."""

import collections
import glob
import itertools
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from minc_tf._checks import check_int

# Vectors of a block that nobody gives a size: 16 MiB of float32.
_BLOCK_BYTES = 2**24

# Arrow reads ahead, which keeps all of a file in memory, and without a buffer
# a whole row group at once, which may be all of it, too.
_STREAMED = {"pre_buffer": False, "buffer_size": 2**20}

# Rows that Arrow decodes at once; it holds several times as much.
_BATCH_BYTES = 2**21

#: The columns that tell whether a row has a vector.
_STATE = ("vector", "error")

# Parts that differ in one of these do not belong together.
_SAME = ("savedmodel", "output", "class_names")


class Vectors:
    """Vectors that `minc-embed` wrote, of any number, read block by block.

    At first the ends of the files are read alone, which tell their rows. A
    block comes with a pass over the files; no more than one is in memory,
    however many rows there are and however large their row groups.

    Args:
        path: path of a table, `NAME.parquet`; of a folder of
            `part-*.parquet`, in the order of their names; a glob of either;
            or a sequence of these, in its order. A table has the columns
            `path`, string; `vector`, float32 lists of a fixed size; and
            perhaps `label`, int64, -1 where unknown, and `error`, string.
            A row whose vector is null or that has an error, that of a bad
            image, is left out. Other columns are not read.

    Attributes:
        files: list of `pathlib.Path`, the tables.
        dimension: int, D, the length of a vector.
        has_labels: bool, whether all tables have a column `label`.
        metadata: dict of str, what the schema of the first table tells:
            `savedmodel`, `output` and others, see `embed_images`.

    Its `len` is the number of rows that have a vector.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a file is empty, truncated or no table of vectors, tables
            differ in dimension, `savedmodel`, `output` or `class_names`, one
            is named twice, or there are no vectors.

    Example:
    ```python
    images = minc_tf.data.load("shapes", num_examples=100)
    minc_tf.evaluation.embed_images("savedmodels/shapes", images, "v.parquet")
    vectors = minc_tf.evaluation.Vectors("v.parquet")
    for x, labels, paths in vectors.blocks(rows=64):
        print(x.shape, labels[:3], paths[0])  # (64, 64), then (36, 64)
    ```
    """

    def __init__(
        self,
        path: str | os.PathLike | Sequence[str | os.PathLike],
    ) -> None:
        self.files = _files(path)
        tables = [_Table(file) for file in self.files]
        first = tables[0]
        for other in tables[1:]:
            first.check_same(other)
        self.dimension = first.dimension
        self.metadata = first.metadata
        self.has_labels = all(table.labelled for table in tables)
        self._length = sum(table.rows for table in tables)
        if not self._length:
            raise ValueError(
                f"vectors must be one or more; received {_named(self.files)}, "
                "without any"
            )

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return (
            f"<Vectors {_named(self.files)}: {len(self)} of {self.dimension}>"
        )

    def blocks(
        self, rows: int | None = None, *, paths: bool = True
    ) -> Iterator[tuple[np.ndarray, np.ndarray, list[str]]]:
        """Pass over the vectors in order, without the rows that have none.

        Blocks do not depend on where a file ends and the next one begins.

        Args:
            rows: int >= 1, vectors a block, but for the last, which holds the
                rest; `None` makes blocks of 16 MiB.
            paths: bool, whether to read the paths.

        Yields:
            Vectors, float32 (n, D); labels, int64 (n,), -1 where unknown; and
            paths, list of n str, empty where they are not read.

        Raises:
            ValueError: `rows` is out of range, or a file is damaged.

        Example:
        ```python
        norms = [np.linalg.norm(x, axis=1) for x, _, _ in vectors.blocks()]
        ```
        """
        if rows is None:
            rows = max(1, _BLOCK_BYTES // (4 * self.dimension))
        return self._blocks(check_int("rows", rows, 1), paths)

    def _blocks(self, rows, paths):
        columns = [*_STATE, *(["label"] if self.has_labels else [])]
        columns += ["path"] if paths else []
        block = _Block(rows, self.dimension, paths)
        count = min(rows, max(1, _BATCH_BYTES // (4 * self.dimension)))
        for file in self.files:
            for batch in _batches(file, count, columns):
                good = _good(batch)
                if good["vector"].flatten().null_count:
                    raise ValueError(
                        "vectors must be of numbers; received null among "
                        f"those of a vector in {str(file)!r}"
                    )
                start = 0
                while start < len(good):
                    start += block.add(good.slice(start, block.room))
                    if not block.room:
                        yield block.take()
        if block.size:
            yield block.take()


class _Block:
    """A block that is being filled."""

    def __init__(self, rows, dimension, paths):
        self._rows, self._dimension, self._paths = rows, dimension, paths
        self._parts, self.size = [], 0

    @property
    def room(self):
        return self._rows - self.size

    def add(self, batch):
        """Take the rows of a batch in; return how many they are."""
        flat = batch["vector"].flatten().to_numpy()
        labels = np.full(len(batch), -1)
        if "label" in batch.schema.names:
            labels = batch["label"].fill_null(-1).to_numpy()
        paths = batch["path"].to_pylist() if self._paths else []
        self._parts.append((flat.reshape(-1, self._dimension), labels, paths))
        self.size += len(batch)
        return len(batch)

    def take(self):
        """Return the block, and begin the next one."""
        vectors, labels, paths = zip(*self._parts, strict=True)
        self._parts, self.size = [], 0
        vectors, labels = np.concatenate(vectors), np.concatenate(labels)
        paths = list(itertools.chain(*paths))
        return vectors, labels, paths


class _Table:
    """What the end of a file tells of it."""

    def __init__(self, file):
        self.file = file
        with _open(file) as table:
            schema, footer = table.schema_arrow, table.metadata
        self.dimension = _dimension(file, schema)
        self.labelled = "label" in schema.names
        self.metadata = {
            key.decode(errors="replace"): value.decode(errors="replace")
            for key, value in (schema.metadata or {}).items()
        }
        self.rows = _count(file, footer)

    def check_same(self, other):
        """Refuse another table that does not belong with this one."""
        if other.dimension != self.dimension:
            raise ValueError(
                f"vectors must have one dimension; received {self.dimension} "
                f"in {str(self.file)!r} and {other.dimension} in "
                f"{str(other.file)!r}"
            )
        for key, one, two in differing_metadata(self.metadata, other.metadata):
            raise ValueError(
                f"vectors must be of one {key}; received {one!r} in "
                f"{str(self.file)!r} and {two!r} in {str(other.file)!r}"
            )


def differing_metadata(
    one: dict[str, str], two: dict[str, str]
) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield (key, value, value) where tables differ, model paths resolved."""
    for key in _SAME:
        values = one.get(key), two.get(key)
        named = values
        if key == "savedmodel" and None not in values:
            named = tuple(map(os.path.realpath, values))
        if named[0] != named[1]:
            yield key, *values


def as_vectors(
    name: str,
    vectors: Vectors | str | os.PathLike | Sequence[str | os.PathLike],
) -> Vectors:
    """Return `Vectors` of what may be paths; `name` is for errors."""
    if isinstance(vectors, Vectors):
        return vectors
    try:
        return Vectors(vectors)
    except (FileNotFoundError, TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def _files(path):
    """The tables that a path, a folder, a glob or a sequence stands for."""
    if isinstance(path, (str, os.PathLike)):
        files = _tables(pathlib.Path(path))
    elif isinstance(path, Sequence) and len(path):
        files = [file for one in path for file in _files(one)]
    else:
        raise TypeError(
            f"vectors must be a path, or a sequence of paths; received {path!r}"
        )
    if len(set(files)) < len(files):
        twice, _ = collections.Counter(files).most_common(1)[0]
        raise ValueError(
            f"vectors must name each table once; received {str(twice)!r} twice"
        )
    return files


def _tables(path):
    if path.is_dir():
        files = sorted(path.glob("part-*.parquet"))
        wanted = "a folder of part-*.parquet"
    elif path.exists():
        return [path]
    else:
        found = map(pathlib.Path, sorted(glob.glob(str(path))))
        files = [file for one in found for file in _tables(one)]
        wanted = "a table that exists, a folder or a glob of some"
    if not files:
        raise FileNotFoundError(
            f"vectors must be {wanted}; received {str(path)!r}"
        )
    return files


def _count(file, footer):
    """The number of rows that have a vector, told by a table's end."""
    nulls = dict.fromkeys(_STATE, 0)
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for column in map(group.column, range(group.num_columns)):
            name = column.path_in_schema.partition(".")[0]
            if name not in nulls:
                continue
            found = column.statistics
            if found is None or not found.has_null_count:
                return _read_count(file)
            nulls[name] += found.null_count
    if "error" not in footer.schema.names:
        return footer.num_rows - nulls["vector"]
    if nulls["vector"] in (0, footer.num_rows - nulls["error"]):
        return nulls["error"]
    return _read_count(file)


def _read_count(file):
    """The same where the end does not tell it."""
    return sum(len(_good(batch)) for batch in _batches(file, 1024, _STATE))


def _good(batch):
    """The rows of a batch that have a vector."""
    good = batch["vector"].is_valid()
    if "error" in batch.schema.names:
        good = pc.and_(good, batch["error"].is_null())
    return batch if pc.all(good).as_py() else batch.filter(good)


def _named(files):
    others = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{str(files[0])!r}{others}"


def _open(file):
    try:
        return pq.ParquetFile(file, **_STREAMED)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from error


def _batches(file, rows, columns):
    """Yield the rows of a file, at most so many at a time."""
    with _open(file) as table:
        batches = table.iter_batches(rows, columns=columns, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise _damaged(file, error) from error
            if batch is None:
                return
            yield batch


def _damaged(file, error):
    if getattr(error, "strerror", None):
        reason = error.strerror
    elif not os.path.getsize(file):
        reason = "the file is empty"
    else:
        reason = f"damaged, or no Parquet file ({str(error).splitlines()[0]})"
    return ValueError(f"vectors must be whole tables; {str(file)!r}: {reason}")


def _dimension(file, schema):
    """The length of the vectors of a table, whose columns are checked."""
    wanted = {"path": pa.types.is_string, "label": pa.types.is_int64}
    for name, right in wanted.items():
        there = name in schema.names
        if (name == "path" or there) and not (
            there and right(schema.field(name).type)
        ):
            raise _unfit(file, schema, name)
    field = schema.field("vector") if "vector" in schema.names else None
    if (
        field is None
        or not pa.types.is_fixed_size_list(field.type)
        or not pa.types.is_float32(field.type.value_type)
        or not field.type.list_size
    ):
        raise _unfit(file, schema, "vector")
    return field.type.list_size


def _unfit(file, schema, name):
    kinds = {
        "path": "string",
        "label": "int64",
        "vector": "float32 lists of a fixed size",
    }
    found = schema.field(name).type if name in schema.names else "none"
    return ValueError(
        f"vectors must have a column {name!r} of {kinds[name]}; received "
        f"{found} in {str(file)!r}"
    )
