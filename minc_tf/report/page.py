"""A run, or several side by side, as one page: `write_report`."""

import json
import os
import pathlib
from collections.abc import Sequence

import jinja2
from markupsafe import Markup

from minc_tf._files import replacing
from minc_tf.report import dims, figures, images, numbers, settings, tables
from minc_tf.report.map_view import common_legend, map_images, map_view
from minc_tf.report.runs import RunData, read_runs

_PAGES = jinja2.Environment(
    loader=jinja2.PackageLoader("minc_tf.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

#: Numbers at the head of a page, where a run has them.
_HEADLINES = (
    "knn_accuracy",
    "loss",
    "chi2_information",
    "embedding_rank",
    "images_per_second",
    "seconds",
)


def write_report(
    runs: str | os.PathLike | Sequence[str | os.PathLike],
    path: str | os.PathLike | None = None,
    *,
    defaults: dict | None = None,
) -> pathlib.Path:
    """Write the page of a run, or one that compares several.

    The page is one file that needs no network. It shows what the folders
    hold; what they do not hold, also because a run has not ended, it names.

    Args:
        runs: path of the folder of a run, or several of them.
        path: path of the page; by default `report.html` in the folder of the
            run, or of several runs in the current folder.
        defaults: optional dict, the default settings, from which the page of
            a run tells the settings that were changed.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: if a folder holds no run.
        ValueError: for no runs, one that is given twice, a file in one that
            cannot be read, or a `path` that cannot be a file's.

    Example:
    ```python
    import minc_tf

    minc_tf.report.write_report("runs/shapes")
    minc_tf.report.write_report(["runs/a", "runs/b"], "comparison.html")
    ```
    """
    paths = [runs] if isinstance(runs, (str, os.PathLike)) else list(runs)
    if not paths:
        raise ValueError("runs must be the folders of runs; received none.")
    if path is None:
        single = len(paths) == 1
        path = pathlib.Path(paths[0] if single else ".") / "report.html"
    path = pathlib.Path(path)
    found = read_runs(paths)
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else "has no folder to be in"
        raise ValueError(
            f"path {str(path)!r} {what}; it must be that of a file, in a "
            "folder that exists."
        )
    text = _single(found[0], defaults) if len(found) == 1 else _several(found)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def _single(run, defaults):
    chart = figures.spectrum_chart(run)
    changed = None
    if defaults is not None:
        changed = settings.changes(run.config, defaults)
    return _PAGES.get_template("report.html").render(
        run=_about(run),
        tiles=[
            (numbers.title(key), numbers.show(key, value), numbers.meaning(key))
            for key, value in _final(run).items()
            if key in _HEADLINES
        ],
        curves=_curves([run]),
        views=_picture(run, "views"),
        neighbours=_picture(run, "neighbours"),
        spectrum=chart and _drawn([chart])[0],
        map=run.snapshot and _map(run.snapshot),
        evaluation=tables.evaluations(run.evaluation),
        dims=_drawn(dims.dims_charts(_by_order(run))),
        changed=changed,
        config=json.dumps(run.config, indent=2),
        environment=tables.environment(run.summary),
        skipped=run.summary.get("skipped", []),
    )


def _several(runs):
    chart = figures.spectra_chart(runs)
    finals = [_final(run) for run in runs]
    maps = [run.snapshot and map_view(run.snapshot) for run in runs]
    return _PAGES.get_template("comparison.html").render(
        runs=[_about(run, style) for style, run in enumerate(runs)],
        numbers=tables.groups_of_finals(finals, _groups_of_numbers(runs)),
        curves=_curves(runs),
        spectrum=chart and _drawn([chart])[0],
        maps=maps,
        legend=common_legend([found for found in maps if found]),
        evaluation=tables.side_by_side([run.evaluation for run in runs]),
        dims=_drawn(dims.dims_charts(_by_run(runs))),
        differences=settings.differences([run.config for run in runs]),
        environments=[tables.environment(run.summary) for run in runs],
    )


def _by_order(run):
    """What a run's evaluations have of `dims`, a curve an order."""
    curves = dims.dims_of(run).items()
    return [
        (f"{order} of {output}", style, rows)
        for style, ((order, output), rows) in enumerate(curves)
    ]


def _by_run(runs):
    """The same of several runs: a curve a run, of an order that it learnt."""
    curves = []
    for style, run in enumerate(runs):
        found = dims.dims_of(run)
        learnt = [key for key in found if key[0] != "pca"]
        for key in (learnt or list(found))[:1]:
            curves.append((f"{run.label}, {key[0]}", style, found[key]))
    return curves


def _about(run: RunData, style: int = 0) -> dict:
    """What the head of a page says of a run."""
    seconds = run.summary.get("seconds")
    epochs = [epoch for curve in run.curves.values() for epoch in curve.epochs]
    return {
        "label": run.label,
        "path": str(run.path),
        "style": style,
        "headline": settings.headline(run.config),
        "ended": numbers.moment(run.summary.get("ended", "")),
        "took": None if seconds is None else numbers.duration(seconds),
        "epochs_done": int(max(epochs, default=0)),
        "epochs": run.config.get("epochs"),
        "collapse": run.summary.get("collapse"),
    }


def _final(run):
    """The last value of each column, or what the whole run came to."""
    found = {
        name: run.curves[name].values[-1]
        for names in figures.column_groups([run]).values()
        for name in names
        if run.curves[name].values
    }
    if "seconds" in found:
        found["seconds"] = sum(run.curves["seconds"].values)
    whole = ("images_per_second", "seconds")
    return found | {k: run.summary[k] for k in whole if k in run.summary}


def _groups_of_numbers(runs):
    """The groups of columns, with the time of a run in the first."""
    first, *rest = figures.column_groups(runs).items() or [("", [])]
    groups = {title: [n for n in own if n != "seconds"] for title, own in rest}
    return {first[0]: [*first[1], "seconds"], **groups}


def _curves(runs):
    """Groups of charts: (title, charts)."""
    groups = figures.curve_charts(runs).items()
    return [(title, _drawn(charts)) for title, charts in groups]


def _drawn(charts):
    """Charts whose `<svg>` a page takes as it is."""
    return [{**vars(chart), "svg": Markup(chart.svg)} for chart in charts]


def _picture(run, name):
    """The address of one of the run's pictures, or None."""
    contents = getattr(run, name)
    if contents is None:
        return None
    try:
        return images.data_uri(images.shrink(contents))
    except ValueError as error:
        file = run.path / "pictures" / f"{name}.png"
        raise ValueError(f"{file}: {error}") from error


def _map(snapshot):
    return map_view(snapshot) | map_images(snapshot)
