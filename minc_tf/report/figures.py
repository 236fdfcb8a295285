"""The charts of a page: curves and spectra."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from minc_tf.report import charts, numbers
from minc_tf.report.runs import RunData

#: What a reader asks first: does it learn, is it good for anything, has it
#: collapsed, how far along is it. Of each the first column that there is.
_LEAD = (
    ("loss",),
    ("knn_accuracy",),
    ("embedding_rank", "effective_rank", "embedding_std"),
    ("learning_rate",),
)

#: The groups of the others, by what their names begin with.
_GROUPS = {
    "Accuracy": ("knn_", "linear_", "probe"),
    "Information": ("chi2_", "captured_share"),
    "Geometry": (
        *("embedding_", "effective_rank", "rank_me"),
        *("alignment", "uniformity"),
    ),
    "Optimisation": (
        *("rate", "second_moment", "learning_rate", "target_"),
        *("gradient", "hessian", "weight", "loss"),
    ),
    "Speed": ("images_per_second", "seconds"),
}
_LEADING, _OTHERS = "The four that matter", "Others"

#: Ends of the names of two columns that make a band around a third.
_BAND = ("_low", "_high")

#: Spectra of a run that are drawn: the first, the last, and between.
_SPECTRA = 4


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart with its words; `legend` has (name, style) of its lines."""

    title: str
    note: str  # what it means, or the last values
    svg: str
    legend: list[tuple[str, int]] = dataclasses.field(default_factory=list)


def column_groups(runs: Sequence[RunData]) -> dict[str, list[str]]:
    """Columns of all runs by group, in order of reading, less interval ends."""
    names = dict.fromkeys(name for run in runs for name in run.curves)
    ends = {name + end for name in names for end in _BAND}
    names = [name for name in names if name not in ends]
    found = [[n for n in choices if n in names][:1] for choices in _LEAD]
    groups = {_LEADING: [name for first in found for name in first]}
    groups |= {title: [] for title in (*_GROUPS, _OTHERS)}
    for name in names:
        if name not in groups[_LEADING]:
            groups[_group(name)].append(name)
    # Others are what callbacks add: before what the clock says.
    speed = groups.pop("Speed")
    groups["Speed"] = speed
    return {title: own for title, own in groups.items() if own}


def _group(name):
    for title, heads in _GROUPS.items():
        if name.startswith(heads):
            return title
    return _OTHERS


def curve_charts(runs: Sequence[RunData]) -> dict[str, list[Chart]]:
    """A chart a column, a line a run, by group; its position is the style."""
    found = {}
    for title, names in column_groups(runs).items():
        for name in names:
            lines = [
                _curve(run, name, style)
                for style, run in enumerate(runs)
                if name in run.curves and run.curves[name].values
            ]
            if lines:
                found.setdefault(title, []).append(_chart(name, lines))
    return found


def _curve(run, name, style):
    curve = run.curves[name]
    ends = [run.curves.get(name + end) for end in _BAND]
    band = None
    if all(end and end.epochs == curve.epochs for end in ends):
        band = tuple(end.values for end in ends)
    return charts.Line(curve.epochs, curve.values, style, band)


def _chart(name, lines):
    title = numbers.title(name)
    text = title
    if len(lines) == 1:
        first, last = (
            f"{numbers.show(name, lines[0].y[at])} at epoch {lines[0].x[at]:g}"
            for at in (0, -1)
        )
        text = f"{title}: {first}, {last}"
    percent = numbers.is_share(name)
    svg = charts.line_chart(lines, text, x_label="epoch", percent=percent)
    unit = ", %" if percent else ""
    return Chart(title + unit, numbers.meaning(name), svg)


def spectrum_chart(run: RunData) -> Chart | None:
    """The spectrum of a run, at a few epochs where they were kept, or None."""
    spectra = run.spectra
    if not spectra and run.snapshot is not None:
        spectra = {None: run.snapshot.spectrum}
    spectra = {at: s for at, s in spectra.items() if s.size and s.max() > 0}
    if not spectra:
        return None
    epochs = list(spectra)
    at = np.linspace(0, len(epochs) - 1, min(_SPECTRA, len(epochs)))
    chosen = [epochs[index] for index in np.rint(at).astype(int)]
    lines = [
        charts.spectrum_line(spectra[epoch], style)
        for style, epoch in enumerate(chosen)
    ]
    note = _captured(spectra[chosen[-1]])
    svg = charts.line_chart(
        lines,
        f"Eigenvalues of the second moment, descending. {note}",
        x_label="coordinate",
        y_scale="log",
    )
    legend = [(f"epoch {e}", i) for i, e in enumerate(chosen)]
    return Chart(
        "Eigenvalues of the second moment",
        note,
        svg,
        legend if len(chosen) > 1 else [],
    )


def spectra_chart(runs: Sequence[RunData]) -> Chart | None:
    """The last spectra of runs, as shares of their sums; None for none."""
    lines = []
    for style, run in enumerate(runs):
        spectrum = last_spectrum(run)
        if spectrum is not None and spectrum.sum() > 0:
            share = spectrum / spectrum.sum()
            lines.append(charts.spectrum_line(share, style))
    if not lines:
        return None
    title = "Eigenvalues of the second moment, shares of their sum"
    svg = charts.line_chart(lines, title, x_label="coordinate", y_scale="log")
    return Chart(title, "Methods scale embeddings differently.", svg)


def last_spectrum(run: RunData) -> np.ndarray | None:
    """The newest spectrum of a run, None where there is none."""
    if run.spectra:
        return run.spectra[max(run.spectra)]
    return None if run.snapshot is None else run.snapshot.spectrum


def _captured(spectrum):
    """How many coordinates hold most of the spectrum."""
    share = np.cumsum(spectrum) / spectrum.sum()
    needed = int(np.searchsorted(share, 0.9)) + 1
    return (
        f"{needed} of {len(spectrum)} coordinates hold 90 % of the sum, the "
        f"first {100 * share[0]:.0f} %."
    )
