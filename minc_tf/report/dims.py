"""Accuracy and recall against the number of coordinates that are kept."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from minc_tf.report import charts, numbers
from minc_tf.report.figures import Chart
from minc_tf.report.runs import RunData

_INTERVAL = "_ci95"


def plot_dims(
    curves: dict[str, list[dict]],
    path: str | os.PathLike,
    *,
    metrics: Sequence[str] | None = None,
) -> None:
    """Plot accuracy and recall against the number of coordinates.

    Args:
        curves: from a name for the legend to rows of
            `minc_tf.evaluation.evaluate_dims`. Names that start with "PCA",
            the baseline, are drawn in grey.
        path: path of the picture; its suffix is the format, such as `.png`,
            `.pdf` or `.svg`.
        metrics: keys of the rows, a panel each; `None` for the first accuracy
            and the first recall that there are.

    Raises:
        ValueError: no curves, or none that has the metrics.

    Example:
    ```python
    rows = [{"dim": 8, "knn_accuracy_k20": 0.5}]
    minc_tf.evaluation.plot_dims({"MINC": rows}, "dims.png")
    ```
    """
    keys = _panels(curves, metrics)
    columns = min(len(curves), len(keys) + 1)
    size = (4.2 * len(keys), 3.2 + 0.22 * -(-len(curves) // columns))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(keys), squeeze=False)[0]
    styles = _styles(curves)
    for panel, key in zip(panels, keys, strict=True):
        lines = [_line(curves[name], key, *styles[name]) for name in curves]
        charts.draw(
            panel, lines, "coordinates kept", x_scale="log2", percent=True
        )
        panel.set_ylabel(f"{numbers.title(key)}, %", size=8)
    figure.legend(
        panels[0].get_lines(),
        curves,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
    )
    figure.savefig(path, dpi=200)


def dims_charts(curves: Sequence[tuple[str, int, list[dict]]]) -> list[Chart]:
    """The same for a page: a chart for each number that was measured."""
    found = []
    for key in _measured(rows for _, _, rows in curves):
        shown = [
            (name, _line(rows, key, style))
            for name, style, rows in curves
            if any(key in row for row in rows)
        ]
        title = f"{numbers.title(key)}, %"
        svg = charts.line_chart(
            [line for _, line in shown],
            f"{title}, against the number of coordinates",
            x_label="coordinates",
            x_scale="log2",
            percent=True,
        )
        legend = [(name, line.style) for name, line in shown]
        found.append(
            Chart(title, "of the first coordinates alone", svg, legend)
        )
    return found


def dims_of(run: RunData) -> dict[tuple[str, str], list[dict]]:
    """The newest rows of `dims` that a run has, by order and output."""
    return {
        (order, entry.get("output", "features")): rows
        for entry in run.evaluation
        for order, rows in entry.get("dims", {}).items()
    }


def _measured(curves) -> list[str]:
    """What rows have measured, without intervals and what was chosen."""
    keys = dict.fromkeys(key for rows in curves for row in rows for key in row)
    return [
        key
        for key in keys
        if numbers.is_better_higher(key) and not key.endswith(_INTERVAL)
    ]


def _panels(curves, metrics) -> list[str]:
    known = {key for rows in curves.values() for row in rows for key in row}
    if metrics is None:
        measured = _measured(curves.values())
        accuracy = [key for key in measured if "accuracy" in key]
        recall = [key for key in measured if "recall_at" in key]
        metrics = accuracy[:1] + recall[:1]
    if not metrics or not known.issuperset(metrics):
        raise ValueError(
            "curves must have rows with the metrics to plot; received "
            f"metrics={list(metrics)} and rows with "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    return list(metrics)


def _styles(names) -> dict[str, tuple[int, bool]]:
    """The style of each curve, and whether it is the baseline's."""
    baselines = [name for name in names if name.startswith("PCA")]
    methods = [name for name in names if name not in baselines]
    return {
        name: (style, group is baselines)
        for group in (methods, baselines)
        for style, name in enumerate(group)
    }


def _line(rows, key, style, baseline=False):
    """Rows as a line, with a band where they have intervals."""
    rows = [row for row in rows if key in row]
    dims = [row["dim"] for row in rows]
    mean = np.array([row[key] for row in rows])
    half = np.array([row.get(key + _INTERVAL, 0.0) for row in rows])
    band = (mean - half, mean + half) if half.any() else None
    return charts.Line(dims, mean, style, band, baseline)
