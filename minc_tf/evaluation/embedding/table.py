"""A Parquet table of vectors, written in parts that outlive the process."""

import contextlib
import csv
import io
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from minc_tf._files import replacing

_JOB = "job.json"

# Vectors do not repeat; a dictionary of them would only be thrown away.
_FORMAT = {"use_dictionary": False}


def check_out(out: str | os.PathLike, overwrite: bool = False) -> pathlib.Path:
    """Return the path of a table to write; refuse one that cannot be."""
    out = pathlib.Path(out)
    if out.suffix != ".parquet":
        raise ValueError(f"out must end in .parquet; received {str(out)!r}")
    if out.is_dir() or (out.exists() and not overwrite):
        kind = "a folder" if out.is_dir() else "there already"
        hint = "" if out.is_dir() else ", or overwrite (--overwrite) it"
        raise ValueError(
            f"out must be a new file; received {str(out)!r}, which is {kind}; "
            f"choose another name{hint}"
        )
    folder = next(path for path in out.absolute().parents if path.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            return out
    except OSError as error:
        raise ValueError(
            f"out must name a file that can be written; received {str(out)!r}: "
            f"{error.strerror}"
        ) from error


def bad_file(out: str | os.PathLike) -> pathlib.Path:
    """Return where the bad files of a table are listed: `<out>.bad.csv`."""
    return pathlib.Path(out).with_suffix(".bad.csv")


def table_schema(dim: int, labelled: bool, metadata: dict) -> pa.Schema:
    """Describe a table of `path`, `label` if labelled, and `vector` (D,)."""
    label = [("label", pa.int64())] if labelled else []
    columns = [
        ("path", pa.string()),
        *label,
        ("vector", pa.list_(pa.float32(), dim)),
    ]
    return pa.schema(columns, metadata=metadata)


class PartialTable:
    """An unfinished table: its finished parts, in `<out>.partial` beside it.

    `job.json` tells what is made. A `part-00000.parquet` of this name is
    complete, and tells which images it is of. Of all parts, `stop` counts the
    images, `rows` the vectors, and `bad` lists the (name, reason) left out.
    """

    def __init__(
        self,
        out: pathlib.Path,
        schema: pa.Schema,
        job: dict[str, str],
        overwrite: bool = False,
    ):
        self._out, self._schema = out, schema
        self._folder = out.with_name(f"{out.name}.partial")
        self.stop, self.rows, self.bad = 0, 0, []
        self._parts = []
        self._claim(job, overwrite)
        while self._take(self._next()):
            pass

    def add(
        self,
        names: Sequence[str],
        labels: np.ndarray | None,
        vectors: np.ndarray,
        bad: Sequence[tuple[str, str]],
    ) -> None:
        """Write the next part: vectors (n, D), and (name, reason) left out."""
        flat = pa.array(np.ravel(vectors), pa.float32())
        dim = self._schema.field("vector").type.list_size
        columns = [
            pa.array(names, pa.string()),
            *([] if labels is None else [pa.array(labels, pa.int64())]),
            pa.FixedSizeListArray.from_arrays(flat, dim),
        ]
        metadata = {
            "start": str(self.stop),
            "stop": str(self.stop + len(names) + len(bad)),
            "bad": json.dumps(list(bad)),
        }
        schema = self._schema.with_metadata(metadata)
        table = pa.Table.from_arrays(columns, schema=schema)
        path = self._next()
        with self._replacing(path) as file:
            pq.write_table(table, file, **_FORMAT)
        self._take(path)

    def finish(self, bad: Sequence[tuple[str, str]] = ()) -> None:
        """Merge the parts; list their bad images, and `bad` of no part."""
        self.bad += bad
        path = bad_file(self._out)
        if self.bad:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerows([("path", "reason"), *self.bad])
            with self._replacing(path) as file:
                file.write(text.getvalue().encode())
        else:
            path.unlink(missing_ok=True)
        if self.rows:
            with self._replacing(self._out) as file:
                self._merge(file)
        # A folder without it holds nothing that anybody wants.
        (self._folder / _JOB).unlink()
        shutil.rmtree(self._folder)

    def _merge(self, file):
        with pq.ParquetWriter(file, self._schema, **_FORMAT) as writer:
            for path in self._parts:
                with pq.ParquetFile(path) as part:
                    if part.metadata.num_rows:
                        writer.write_table(part.read())

    def _next(self):
        return self._folder / f"part-{len(self._parts):05d}.parquet"

    def _take(self, path):
        """Count a part in, if it is whole and follows those before."""
        try:
            with pq.ParquetFile(path) as part:
                found = part.schema_arrow.metadata
                rows = part.metadata.num_rows
        except (FileNotFoundError, pa.ArrowInvalid):
            return False
        if int(found[b"start"]) != self.stop:
            return False
        self._parts.append(path)
        self.stop, self.rows = int(found[b"stop"]), self.rows + rows
        self.bad += map(tuple, json.loads(found[b"bad"]))
        return True

    def _claim(self, job, overwrite):
        """Make the folder that of this job."""
        path = self._folder / _JOB
        if path.exists():
            other = differing(path, job)
            if other and not overwrite:
                raise ValueError(
                    f"{str(self._folder)!r} holds a part of another job "
                    f"({other}); choose another out, or overwrite "
                    "(--overwrite), which removes it"
                )
            if other:
                shutil.rmtree(self._folder)
        else:
            for leftover in self._folder.glob("part-*"):
                leftover.unlink()
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._replacing(path) as file:
            file.write(json.dumps(job, indent=2).encode())

    @contextlib.contextmanager
    def _replacing(self, path):
        """A binary file that becomes `path` when it is complete."""
        with replacing(path, self._folder) as part, open(part, "wb") as file:
            yield file


def differing(path: pathlib.Path, job: dict[str, str]) -> str:
    """What the job in a file differs in; empty where it is the same."""
    try:
        known = dict(json.loads(path.read_text()))
    except (TypeError, ValueError):
        return f"its {path.name} is damaged"
    return "; ".join(
        f"{key} then {known.get(key)!r}, now {value!r}"
        for key, value in job.items()
        if known.get(key) != value
    )
