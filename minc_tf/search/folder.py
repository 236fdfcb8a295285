"""An index in a folder: written as a whole or not at all, read from the disk.

`vectors.npy` (N, D) are the unit vectors; `first.npy` the coordinates of the
first stage, unit vectors again, where there is one; `rotation.npy` the axes
that they were turned to; `names.parquet` the names. `index.json` comes last and
says what the others hold: a folder without it is not finished.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from minc_tf._files import replacing
from minc_tf.search.unit import unit_rows

_FORMAT = 1
_JSON, _VECTORS, _FIRST = "index.json", "vectors.npy", "first.npy"
_ROTATION, _NAMES = "rotation.npy", "names.parquet"
_FILES = (_JSON, _VECTORS, _FIRST, _ROTATION, _NAMES)

_SCHEMA = pa.schema([("name", pa.string())])


class Shape(NamedTuple):
    """What an index holds: `count` vectors of `dimension`, and the stages."""

    count: int
    dimension: int
    stages: tuple[tuple[int, int], ...]


def block_rows(dimension: int) -> int:
    """Vectors that are written at once, 16 MiB of them."""
    return max(1, 2**22 // dimension)


def check_folder(folder: str | os.PathLike, overwrite: bool) -> None:
    """Refuse a folder that holds an index, or anything else."""
    folder = pathlib.Path(folder)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(
            f"folder must be a new one; received {str(folder)!r}, a file"
        )
    others = {path.name for path in folder.iterdir()} - set(_FILES)
    # What an interrupted write left.
    others = {name for name in others if ".part" not in name}
    if others:
        raise ValueError(
            "folder must be new, or of an index; received "
            f"{str(folder)!r}, which holds {min(others)!r}"
        )
    if (folder / _JSON).exists() and not overwrite:
        raise ValueError(
            f"folder must be new; received {str(folder)!r}, which holds an "
            "index; choose another, or overwrite (--overwrite) it"
        )


def write(
    folder: str | os.PathLike,
    blocks: Iterable[tuple[np.ndarray, pa.Array | pa.ChunkedArray | None]],
    shape: Shape,
    rotation: np.ndarray | None,
    metadata: dict[str, str],
    *,
    overwrite: bool = False,
) -> None:
    """Write an index of blocks of unit vectors (n, D) with their names."""
    check_folder(folder, overwrite)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # From here on nobody can take the old files for a whole index.
    (folder / _JSON).unlink(missing_ok=True)
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
    named = _write_blocks(folder, blocks, shape)
    if rotation is not None:
        with replacing(folder / _ROTATION) as part:
            np.save(part, rotation)
    record = {
        "format": _FORMAT,
        "count": shape.count,
        "dimension": shape.dimension,
        "stages": [list(stage) for stage in shape.stages],
        "order": "given" if rotation is None else "pca",
        "names": named,
        "metadata": metadata,
    }
    with replacing(folder / _JSON) as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


def _write_blocks(folder, blocks, shape):
    """Write vectors, first coordinates and names; tell whether there are."""
    with contextlib.ExitStack() as stack:

        def array(name, dim):
            path = stack.enter_context(replacing(folder / name))
            wanted = (shape.count, dim)
            return np.lib.format.open_memmap(path, "w+", "float32", wanted)

        vectors = array(_VECTORS, shape.dimension)
        first = array(_FIRST, shape.stages[0][0]) if shape.stages else None
        writer, start = None, 0
        for x, names in blocks:
            rows = slice(start, start + len(x))
            vectors[rows] = x
            if first is not None:
                first[rows] = unit_rows("vectors", x[:, : first.shape[1]])
            if names is not None:
                if writer is None:
                    path = stack.enter_context(replacing(folder / _NAMES))
                    writer = stack.enter_context(
                        pq.ParquetWriter(path, _SCHEMA)
                    )
                writer.write_table(pa.table([names], schema=_SCHEMA))
            start += len(x)
        if start != shape.count:
            raise ValueError(
                f"vectors must be {shape.count}; received {start}, as tables "
                "that are still written may have"
            )
        vectors.flush()
        if first is not None:
            first.flush()
        return writer is not None


def read(folder: pathlib.Path) -> tuple:
    """Map an index: vectors, first, rotation, names, stages, metadata."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"folder must be that of an index; received {str(folder)!r}, "
            "which does not exist or is a file"
        )
    path = folder / _JSON
    if not path.exists():
        raise ValueError(
            f"folder must hold a whole index; {str(folder)!r} has no {_JSON}: "
            "it is none, or its writing was interrupted; build it again"
        )
    record = _record(path)
    count, dim = record["count"], record["dimension"]
    stages = tuple(map(tuple, record["stages"]))
    vectors = _array(folder / _VECTORS, (count, dim))
    first = rotation = names = None
    if stages:
        first = _array(folder / _FIRST, (count, stages[0][0]))
    if record["order"] == "pca":
        rotation = np.array(_array(folder / _ROTATION, (dim, dim)))
    if record["names"]:
        names = _read_names(folder / _NAMES, count)
    return vectors, first, rotation, names, stages, record["metadata"]


def _record(path):
    try:
        record = json.loads(path.read_text())
        version = record["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error
    if version != _FORMAT:
        raise ValueError(
            f"folder must be an index of format {_FORMAT}; received format "
            f"{version!r} in {str(path)!r}; build it with this version"
        )
    return record


def _array(path, shape):
    try:
        found = np.load(path, mmap_mode="r")
    except (EOFError, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if found.shape != shape or found.dtype != np.float32:
        reason = f"{found.dtype} {found.shape} in place of float32 {shape}"
        raise _damaged(path, reason)
    # A plain array over the same pages: FAISS and NumPy take it without a copy.
    return found.view(np.ndarray)


def _read_names(path, count):
    try:
        # Mapped and of one column; Arrow keeps it in chunks.
        names = pq.read_table(path, memory_map=True)["name"]
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error
    if len(names) != count:
        raise _damaged(path, f"{len(names)} names of {count}")
    return names


def _damaged(path, reason):
    reason = str(reason).splitlines()[0] if str(reason) else "unreadable"
    return ValueError(
        f"folder must hold a whole index; {str(path)!r} is damaged ({reason}); "
        "build it again"
    )
