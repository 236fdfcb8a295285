"""What the folder of a run holds, read for a report."""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from minc_tf._run_folder import (
    POSITION,
    RunFolder,
    read_table,
    write_table,
)
from minc_tf.report.embedding import Snapshot, load_snapshot


@dataclasses.dataclass(frozen=True)
class Curve:
    """A column of a run's tables, at the epochs at which it was measured."""

    epochs: list[float]
    values: list[float]


@dataclasses.dataclass(frozen=True)
class RunData:
    """A run, read."""

    path: pathlib.Path
    label: str  # tells it from the others of a page
    config: dict
    curves: dict[str, Curve]  # of metrics.csv and timing.csv
    spectra: dict[int, np.ndarray]  # (d,) by epoch, of spectrum.csv
    summary: dict  # empty until the run has ended
    evaluation: list[dict]
    snapshot: Snapshot | None
    views: bytes | None  # the file of a picture, as is the next
    neighbours: bytes | None


def read_runs(paths: Sequence[str | os.PathLike]) -> list[RunData]:
    """Read the folders of runs, each given once, with labels that differ."""
    folders = [pathlib.Path(path) for path in paths]
    resolved = [folder.resolve() for folder in folders]
    for folder, full in zip(folders, resolved, strict=True):
        if resolved.count(full) > 1:
            raise ValueError(f"run {str(folder)!r} is given twice.")
    labels = short_labels(resolved)
    return [_read(*pair) for pair in zip(folders, labels, strict=True)]


def short_labels(paths: Sequence[pathlib.Path]) -> list[str]:
    """The ends of different paths, as short as tells all of them apart."""
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        labels = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(labels)) == len(labels):
            break
    return labels


def write_spectra(path: str | os.PathLike, spectra: dict) -> None:
    """Write the spectra of a run as `spectrum.csv`, a row an epoch.

    Args:
        path: path of the file.
        spectra: dict of float arrays (d,), descending, by epoch.

    Example:
    ```python
    minc_tf.report.write_spectra("runs/a/spectrum.csv", {1: [1.0, 0.5]})
    ```
    """
    dim = max(map(len, spectra.values()), default=0)
    rows = [
        {"epoch": epoch, **{n: f"{v:.6g}" for n, v in enumerate(values, 1)}}
        for epoch, values in sorted(spectra.items())
    ]
    write_table(path, ["epoch", *range(1, dim + 1)], rows)


def read_spectra(path: str | os.PathLike) -> dict[int, np.ndarray]:
    """Read what `write_spectra` wrote.

    Args:
        path: path of the file; one that does not exist holds none.

    Returns:
        dict of float arrays (d,) by epoch.

    Raises:
        ValueError: for a file that is no such table.
    """
    return {
        row.pop("epoch"): np.asarray(list(row.values()))
        for row in read_table(path)
    }


def _read(path, label):
    folder = RunFolder(path)
    if not folder.config.exists():
        raise FileNotFoundError(
            f"{str(path)!r} holds no run: there is no config.json."
        )
    evaluation = _read_json(folder.evaluation, list)
    for entry in evaluation:
        if not _is_evaluation(entry):
            raise ValueError(
                f"{folder.evaluation} must hold what minc-evaluate "
                f"writes; received the entry {entry!r}."
            )
    snapshot = folder.embedding
    return RunData(
        path=path,
        label=label,
        config=_read_json(folder.config, dict),
        curves=_curves(folder.timing) | _curves(folder.metrics),
        spectra=read_spectra(folder.spectrum),
        summary=_read_json(folder.summary, dict),
        evaluation=evaluation,
        snapshot=load_snapshot(snapshot) if snapshot.exists() else None,
        views=_bytes(folder.pictures / "views.png"),
        neighbours=_bytes(folder.pictures / "neighbours.png"),
    )


def _is_evaluation(entry):
    """Whether an entry has results, and rows of any dimensions."""
    if not isinstance(entry, dict):
        return False
    curves = entry.get("dims", {})
    return isinstance(entry.get("results"), dict) and all(
        isinstance(row, dict) and "dim" in row
        for rows in curves.values()
        for row in rows
    )


def _bytes(path):
    return path.read_bytes() if path.exists() else None


def _read_json(path, kind):
    """The contents of a file, empty where there is none."""
    if not path.exists():
        return kind()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a file of a run: {error}") from error
    if not isinstance(found, kind):
        raise ValueError(
            f"{path} must hold a {kind.__name__}; received "
            f"{type(found).__name__}."
        )
    return found


def _curves(path):
    rows = read_table(path)
    names = dict.fromkeys(name for row in rows for name in row)
    curves = {}
    for name in names:
        if name not in POSITION:
            kept = [r for r in rows if math.isfinite(r.get(name, math.nan))]
            curves[name] = Curve(
                [row["epoch"] for row in kept], [row[name] for row in kept]
            )
    return curves
