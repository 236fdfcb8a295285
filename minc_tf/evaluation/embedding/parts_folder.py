"""A folder of parts of a table, each whole as soon as it has its name."""

import concurrent.futures
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
from minc_tf.evaluation.embedding.table import differing

PLAN = "plan.json"
_FORMAT = {"use_dictionary": ["error"]}


class PartsFolder:
    """The parts of a table, `part-*.parquet`, and their plan; picklable.

    A process that is killed leaves hidden folders at most; see `sweep`.
    """

    def __init__(self, folder: str | os.PathLike, metadata: dict, dim: int):
        self.folder = pathlib.Path(folder).absolute()
        columns = [
            ("path", pa.string()),
            ("label", pa.int64()),
            ("vector", pa.list_(pa.float32(), dim)),
            ("error", pa.string()),
        ]
        self._schema = pa.schema(columns, metadata=metadata)

    def path(self, part: str) -> pathlib.Path:
        """The file of a part."""
        return self.folder / f"{part}.parquet"

    def claim(self, plan: dict[str, str], overwrite: bool = False) -> None:
        """Make the folder that of a plan; refuse one that is of another."""
        path = self.folder / PLAN
        if path.exists():
            other = differing(path, plan)
            if other and not overwrite:
                raise ValueError(
                    f"{str(self.folder)!r} holds parts of another plan "
                    f"({other}); choose another out, or overwrite "
                    "(--overwrite), which removes them"
                )
            if not other:
                return
            for part in self.folder.glob("part-*.parquet"):
                part.unlink()
            path.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".") as own:
            new = pathlib.Path(own) / PLAN
            new.write_text(json.dumps(plan, indent=2))
            try:
                # Of several that start at a time one is the first.
                os.link(new, path)
            except FileExistsError:
                self.claim(plan)
            except OSError:  # a file system without links
                with replacing(path, own) as text:
                    text.write_text(json.dumps(plan, indent=2))

    def counts(self, parts: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Count vectors and bad images of those parts that are there."""
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            found = zip(parts, pool.map(self._counts, parts), strict=True)
            return {part: counts for part, counts in found if counts}

    def _counts(self, part):
        try:
            metadata = pq.read_schema(self.path(part)).metadata
        except (FileNotFoundError, pa.ArrowInvalid):
            return None
        return int(metadata[b"rows"]), int(metadata[b"bad"])

    def write(
        self,
        part: str,
        names: Sequence[str],
        labels: np.ndarray,
        vectors: np.ndarray,
        faults: Sequence[str | None],
    ) -> tuple[int, int]:
        """Write a part, labels (n,), vectors (n, D); return (good, bad)."""
        bad = np.array([fault is not None for fault in faults], bool)
        dim = self._schema.field("vector").type.list_size
        # Not null: Arrow before 26 reads none among lists of a fixed size.
        vectors = np.where(bad[:, None], np.float32(np.nan), vectors)
        flat = pa.array(np.ravel(vectors), pa.float32())
        columns = [
            pa.array(names, pa.string()),
            pa.array(labels, pa.int64()),
            pa.FixedSizeListArray.from_arrays(flat, dim),
            pa.array(faults, pa.string()),
        ]
        counts = int((~bad).sum()), int(bad.sum())
        schema = self._schema.with_metadata(
            self._schema.metadata
            | {b"rows": b"%d" % counts[0], b"bad": b"%d" % counts[1]}
        )
        table = pa.Table.from_arrays(columns, schema=schema)
        path = self.path(part)
        # A worker that was given up may still write the same part.
        own = tempfile.mkdtemp(dir=self.folder, prefix=f".{part}.")
        try:
            with replacing(path, own) as new:
                pq.write_table(table, new, **_FORMAT)
        except FileNotFoundError:
            if not path.exists():
                raise
        finally:
            shutil.rmtree(own, ignore_errors=True)
        return counts

    def sweep(self, prefix: str) -> None:
        """Remove what killed processes left of parts named so."""
        for leftover in self.folder.glob(f".{prefix}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def list_bad(self, parts: Sequence[str], name: str) -> list:
        """Write the list of bad images, or remove it; return their names."""
        bad = []
        for part in parts:
            table = pq.read_table(self.path(part), columns=["path", "error"])
            table = table.filter(table["error"].is_valid())
            bad += zip(*(column.to_pylist() for column in table), strict=True)
        path = self.folder / name
        if not bad:
            path.unlink(missing_ok=True)
            return []
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([("path", "reason"), *bad])
        with (
            tempfile.TemporaryDirectory(dir=self.folder, prefix=".") as own,
            replacing(path, own) as new,
        ):
            new.write_bytes(text.getvalue().encode())
        return [name for name, _ in bad]


def check_folder(out: str | os.PathLike) -> pathlib.Path:
    """Return the path of a folder of parts; refuse one that cannot be."""
    folder = pathlib.Path(out)
    if folder.suffix == ".parquet" or (folder.exists() and not folder.is_dir()):
        raise ValueError(
            f"out must be a folder for parts; received {str(out)!r}, which "
            f"is {'a file' if folder.exists() else 'the name of one table'}"
        )
    if folder.is_dir() and not (folder / PLAN).exists():
        others = [n for n in os.listdir(folder) if not n.startswith(".")]
        if others:
            raise ValueError(
                f"out must be a new folder, or one of parts with a {PLAN}; "
                f"received {str(out)!r}, which holds {min(others)!r}"
            )
    above = next(path for path in folder.absolute().parents if path.exists())
    try:
        with tempfile.TemporaryFile(dir=folder if folder.is_dir() else above):
            return folder
    except OSError as error:
        raise ValueError(
            "out must name a folder that can be written; received "
            f"{str(out)!r}: {error.strerror}"
        ) from error
