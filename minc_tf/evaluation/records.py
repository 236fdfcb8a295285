"""Results of evaluations: as a table, and in the file of a run."""

import datetime
import json
import os
import pathlib
import re

from minc_tf._files import replacing

_SHARE = re.compile(r"accuracy|recall|_map$|^map$")
_INTERVAL = "_ci95"

#: What tells whether an entry is of the same evaluation as another.
_IDENTITY = ("savedmodel", "output", "settings")


def format_results(results: dict) -> str:
    """Lay out results as lines `key: value`, in % too, and tables of `dims`."""
    keys = [k for k in results if k != "dims" and not k.endswith(_INTERVAL)]
    width = max((len(key) for key in keys), default=0)
    lines = [
        f"{key:>{width}}: {_format(key, results[key], results)}" for key in keys
    ]
    for order, rows in results.get("dims", {}).items():
        lines += ["", f"first coordinates in the order {order!r}, in %:"]
        lines += _table(rows)
    return "\n".join(lines)


def make_record(
    savedmodel: str, output: str, settings: dict, results: dict
) -> dict:
    """Make an entry of evaluation.json: results, and all they depend on."""
    choices = {k: v for k, v in results.items() if isinstance(v, list)}
    record = {
        "savedmodel": savedmodel,
        "output": output,
        "settings": settings,
        "results": {k: v for k, v in results.items() if isinstance(v, float)},
        "date": datetime.datetime.now().astimezone().isoformat("T", "seconds"),
    }
    if choices:
        record["choices"] = choices
    if "dims" in results:
        record["dims"] = results["dims"]
    return record


def read_records(path: str | os.PathLike) -> list[dict]:
    """Read the evaluations of a run; none where there is no file."""
    path = pathlib.Path(path)
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) for entry in entries
    ):
        raise ValueError(f"{path} must hold a list of evaluations, it does not")
    return entries


def merge_record(path: str | os.PathLike, entry: dict) -> None:
    """Add an evaluation, or replace that of the same settings, atomically."""
    path = pathlib.Path(path)
    # As it will be read back: tuples become lists.
    entry = json.loads(json.dumps(entry))
    kept = [
        other
        for other in read_records(path)
        if any(other.get(key) != entry.get(key) for key in _IDENTITY)
    ]
    with replacing(path) as part:
        part.write_text(json.dumps([*kept, entry], indent=2) + "\n")


def _format(key, value, results):
    if isinstance(value, list):
        return ", ".join(f"{one:.4g}" for one in value)
    text = f"{value:.4g}"
    if not _SHARE.search(key):
        return text
    text = f"{text:<8}{100 * value:6.2f} %"
    if key + _INTERVAL in results:
        text += f" +- {100 * results[key + _INTERVAL]:.2f}"
    return text


def _table(rows):
    keys = [k for k in rows[0] if _SHARE.search(k) and _INTERVAL not in k]
    keys = [k for k in keys if "held_out" not in k]
    lines = ["  ".join(["  dim", *keys])]
    for row in rows:
        cells = [f"{row['dim']:>5}"]
        cells += [f"{100 * row[key]:>{len(key)}.2f}" for key in keys]
        lines.append("  ".join(cells))
    return lines
