"""Charts as SVG that takes its colours from the page, and as pictures."""

import dataclasses
import html
import io
import re
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from minc_tf.diagnostics.vectors import check_features
from minc_tf.report import numbers

#: Okabe & Ito's colours, which colour-blind readers tell apart; not the two
#: that are too light to draw lines with.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("solid", "dashed", "dotted", "dashdot")

_INK, _GRID = "#333333", "#d0d0d0"
_GREYS = ("#505050", "#808080", "#b0b0b0")

#: What the page replaces colours by, so that they follow its theme.
_VARIABLES = {
    _INK: "var(--muted)",
    _GRID: "var(--line)",
    **{
        colour.lower(): f"var(--series-{index})"
        for index, colour in enumerate(PALETTE)
    },
}
_SIZE = (4.0, 2.5)


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a chart."""

    x: Sequence[float]
    y: Sequence[float]
    style: int = 0  # of the colours and, of more lines, dashes
    band: tuple[Sequence[float], Sequence[float]] | None = None  # low, high
    baseline: bool = False  # grey and dashed, whatever its style


def line_chart(
    lines: Sequence[Line],
    text: str,
    *,
    x_label: str,
    x_scale: str = "linear",
    y_scale: str = "linear",
    percent: bool = False,
) -> str:
    """Draw lines over a common axis, as an `<svg>` element.

    `x_scale` may be "log2", `y_scale` "log"; `percent` is for shares of 1.
    Colours are CSS variables, `text` is for those who do not see the chart.
    """
    figure = _figure(lines, x_label, x_scale, y_scale, percent)
    return _svg(figure, text)


def spectrum_picture(spectrum: np.ndarray) -> np.ndarray:
    """Draw a descending spectrum (d,): uint8 array (height, width, 3)."""
    (values,) = check_features("spectrum", np.asarray(spectrum)[None])
    figure = _figure(
        [spectrum_line(values)], "coordinate", "linear", "log", False
    )
    figure.axes[0].set_title("eigenvalues of the second moment", size=9)
    figure.set_dpi(200)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3]


def spectrum_line(spectrum: np.ndarray, style: int = 0) -> Line:
    """A spectrum (d,) as a line, without what rounding leaves of zeros."""
    spectrum = np.asarray(spectrum, np.float64)
    shown = spectrum > 1e-7 * spectrum.max()
    return Line(np.flatnonzero(shown) + 1, spectrum[shown], style)


def _figure(lines, x_label, x_scale, y_scale, percent):
    figure = Figure(_SIZE, layout="constrained", facecolor="none")
    axes = figure.add_subplot(facecolor="none")
    draw(axes, lines, x_label, x_scale, y_scale, percent)
    return figure


def draw(
    axes: Axes,
    lines: Sequence[Line],
    x_label: str,
    x_scale: str = "linear",
    y_scale: str = "linear",
    percent: bool = False,
) -> None:
    """Draw lines into axes, as `line_chart` does."""
    axes.grid(color=_GRID, linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_INK)
    axes.tick_params(colors=_INK, labelsize=8, length=0)
    axes.set_xlabel(x_label, color=_INK, size=8)
    axes.set_axisbelow(True)
    for line in lines:
        _draw(axes, line)
    if x_scale == "log2":
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(
            FixedLocator(sorted({x for line in lines for x in line.x}))
        )
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(
            MaxNLocator(6, integer=True, steps=(1, 2, 5, 10))
        )
    if y_scale == "log":
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
    unit = 100 if percent else 1
    axes.xaxis.set_major_formatter(lambda value, _: numbers.plain(value))
    axes.yaxis.set_major_formatter(lambda y, _: numbers.plain(unit * y))


def _draw(axes, line):
    colour = PALETTE[line.style % len(PALETTE)]
    dash = DASHES[line.style // len(PALETTE) % len(DASHES)]
    if line.baseline:
        colour, dash = _GREYS[line.style % len(_GREYS)], "dashed"
    if line.band is not None:
        axes.fill_between(
            line.x, *line.band, color=colour, alpha=0.2, linewidth=0
        )
    axes.plot(
        line.x,
        line.y,
        color=colour,
        linestyle=dash,
        linewidth=1.6,
        marker="o" if len(line.x) <= 30 else "",
        markersize=3,
    )


def _svg(figure, text):
    """The figure as an element to stand in a page, in the page's colours."""
    # Text stays text, and the names of parts differ from chart to chart.
    settings = {"svg.fonttype": "none", "svg.hashsalt": text}
    unknown = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    file = io.StringIO()
    with matplotlib.rc_context(settings):
        # `savefig` would draw once before, for the same layout.
        FigureCanvasSVG(figure).print_svg(file, metadata=unknown)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'font: ([\d.]+)px [^;"]*', r"font-size: \1px", svg)
    svg = re.sub(
        r"#[0-9a-fA-F]{6}",
        lambda found: _VARIABLES.get(found[0].lower(), found[0]),
        svg,
    )
    width, height = (72 * side for side in _SIZE)
    head = (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{html.escape(text)}">'
    )
    return re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)
