"""The folder of a run: what is in it, and its tables."""

import csv
import io
import math
import os
import pathlib
from collections.abc import Iterable, Sequence

from minc_tf._files import replacing

#: Columns of a table that say where in the run a row stands.
POSITION = ("epoch", "step")


class RunFolder:
    """Paths in a run's folder; docs/runs.md says what each file holds."""

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self.config = self.path / "config.json"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model.keras"
        self.metrics = self.path / "metrics.csv"
        self.timing = self.path / "timing.csv"
        self.spectrum = self.path / "spectrum.csv"
        self.events = self.path / "events"
        self.pictures = self.path / "pictures"
        self.log = self.path / "log.txt"
        self.embedding = self.path / "embedding.npz"
        self.evaluation = self.path / "evaluation.json"
        self.report = self.path / "report.html"
        self.summary = self.path / "summary.json"


def write_table(
    path: str | os.PathLike, names: Sequence, rows: Iterable[dict]
) -> None:
    """Write rows, dicts by column, as a CSV file of the columns `names`."""
    with replacing(path) as part, open(part, "w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: str | os.PathLike) -> list[dict[str, float]]:
    """Read what `write_table` wrote: dicts of floats, without empty cells.

    Epochs and steps are ints. A file that does not exist holds no rows.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return []
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    try:
        rows = [_numbers(row) for row in reader]
    except (ValueError, csv.Error) as error:
        # The line of the reader inside counts the line that it fails on.
        line = reader.reader.line_num
        raise ValueError(f"{path}, line {line}: {error}") from error
    if not all(math.isfinite(row.get("epoch", math.nan)) for row in rows):
        raise ValueError(f"{path} must have an epoch in each row.")
    return rows


def _text(path):
    contents = path.read_bytes()
    try:
        return contents.decode("utf-8")
    except UnicodeDecodeError as error:
        line = contents.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: not UTF-8 text") from error


def _numbers(row):
    if None in row or None in row.values():
        raise ValueError("the row is not as long as the header")
    found = {key: float(value) for key, value in row.items() if value != ""}
    for name in POSITION:
        if name in found and math.isfinite(found[name]):
            found[name] = int(found[name])
    return found
