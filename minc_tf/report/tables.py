"""The tables of a page: final numbers, evaluation, environment."""

import os
from collections.abc import Sequence

from minc_tf.report import numbers

_INTERVAL = "_ci95"

#: Numbers beside each other in a table, at most.
_ACROSS = 6


def groups_of_finals(
    runs: Sequence[dict], groups: dict[str, list[str]]
) -> list[tuple[str, dict]]:
    """Tables (title, `finals`), each of so few numbers that it fits a page."""
    found = []
    for title, names in groups.items():
        names = [name for name in names if any(name in run for run in runs)]
        for start in range(0, len(names), _ACROSS):
            part = names[start : start + _ACROSS]
            found.append((title, finals(runs, part)))
    return found


def finals(runs: Sequence[dict], names: Sequence[str]) -> dict:
    """The last values of runs: `heads`, and `rows` of (text, best) a run."""
    names = [name for name in names if any(name in run for run in runs)]
    rows = [[_cell(name, run, runs) for name in names] for run in runs]
    return {"heads": [numbers.title(name) for name in names], "rows": rows}


def evaluations(entries: Sequence[dict]) -> list[dict]:
    """Tables of what was evaluated, as dicts for the page, the newest first."""
    return [_evaluation(entry) for entry in reversed(entries)]


def side_by_side(runs: Sequence[list[dict]]) -> list[tuple]:
    """What runs measured last: (name, cells), the cells (text, best)."""
    latest = []
    for entries in runs:
        found = {}
        for entry in entries:
            output = entry.get("output", "features")
            found.setdefault(output, {}).update(entry["results"])
        latest.append(found)
    rows = []
    for output in dict.fromkeys(name for found in latest for name in found):
        own = [found.get(output, {}) for found in latest]
        for key in dict.fromkeys(key for results in own for key in results):
            if _is_measured(key):
                cells = [_cell(key, results, own) for results in own]
                rows.append((f"{numbers.title(key)} ({output})", cells))
    return rows


def environment(summary: dict) -> list[tuple[str, str]]:
    """Versions, commit and machine of a run, as names and texts."""
    found = {}
    for section in ("versions", "machine", "environment"):
        value = summary.get(section, {})
        found |= value if isinstance(value, dict) else {section: value}
    for key in ("images", "skipped_images", "encoder_parameters"):
        if key in summary:
            found[key] = numbers.show(key, summary[key])
    return [
        (numbers.title(key), "—" if value is None else str(value))
        for key, value in found.items()
    ]


def _evaluation(entry):
    results = entry["results"]
    chosen = {key: results[key] for key in results if numbers.is_choice(key)}
    chosen |= entry.get("choices", {})
    return {
        "head": _head(entry),
        "measured": [
            (numbers.title(key), _text(key, results))
            for key in filter(_is_measured, results)
        ],
        "chosen": [
            (numbers.title(key), numbers.show(key, value))
            for key, value in chosen.items()
        ],
    }


def _head(entry):
    """What an entry evaluated: model, output, day."""
    model = os.path.normpath(str(entry.get("savedmodel", "")))
    model = "/".join(model.split(os.sep)[-2:])
    parts = (model, entry.get("output"), numbers.moment(entry.get("date", "")))
    return " · ".join(str(part) for part in parts if part)


def _is_measured(key):
    return not key.endswith(_INTERVAL) and not numbers.is_choice(key)


def _text(key, results):
    """A number, with its 95 % interval where there is one."""
    text = numbers.show(key, results.get(key))
    half = results.get(key + _INTERVAL)
    if half is None:
        return text
    return f"{text} ± {numbers.show(key, half)}"


def _cell(key, own, every):
    """The text of a number, and whether it is the best of several."""
    values = [results[key] for results in every if key in results]
    best = (
        key in own
        and numbers.is_better_higher(key)
        and len(values) > 1
        and own[key] == max(values)
    )
    return _text(key, own), best
