"""Accuracy against batch size: MINC, its paper's form, spectral, and others.

    python benchmarks/batch_size.py --data=DIR --minutes=60

DIR has the prepared data sets `cifar10_jpeg` and `tiny_imagenet50`. Every cell
sees the same number of images with the same small encoder. A cell that is in
`benchmarks/results/batch_size.json` is not run again, so the grid can be filled
over days, in an order in which what is there at any time is worth having.

Each method has its own projector: the spectral loss's ends in a batch
normalisation, MINC's in a bias. `spectral_minc_head` is the spectral loss with
the latter, `minc_batch` MINC with the moment of the batch alone (rate 1),
`minc_floor_03` MINC whose rate may fall to 0.3, the default before it was 0.6.

Choices are made on a held-out tenth of the training images, at seed 0, by the
mean of kNN and ridge accuracy: the scale (mu, or a temperature) once for a
method, at batch 64, from three; then the learning rate for each method and
batch, from three. Seeds 1 to 3 are trained on all training images and evaluated
once on the test images. Without `--minutes` table and picture are written of
what is there.
"""

import contextlib
import itertools
import pathlib

from absl import flags
from grid import (
    IMAGES,
    METHODS,
    SEEDS,
    fill,
    interval,
    key,
    plan,
    score,
    shown,
    wanted,
    write,
)
from record import ROOT

from minc_tf.cli import app

BATCHES = (64, 16, 256, 8, 32, 128, 512)
#: Data set, methods and batches of each part, in the order of the work.
PARTS = (
    ("cifar10_jpeg", ("minc", "spectral"), BATCHES),
    ("cifar10_jpeg", ("minc_paper",), BATCHES),
    ("cifar10_jpeg", ("spectral_minc_head",), (8, 64, 512, 16)),
    ("tiny_imagenet50", ("spectral_minc_head", "minc_batch"), (64,)),
    ("cifar10_jpeg", ("minc_batch",), (64,)),
    ("tiny_imagenet50", ("minc", "spectral"), (64, 16, 256)),
    ("cifar10_jpeg", ("simclr", "vicreg", "byol", "tico"), (64, 16, 256)),
    ("cifar10_jpeg", ("minc_floor_03",), BATCHES),
    ("tiny_imagenet50", ("minc_floor_03",), (64, 16)),
)

_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)


def main(_) -> None:
    """Runs cells that are missing, and writes the table."""
    record = pathlib.Path(_RESULTS.value) / "batch_size.json"
    cells = fill(record, all_cells)
    write(record.with_suffix(".md"), table(cells))
    write_chart(record.with_suffix(".png"), cells)


def all_cells(cells: dict):
    """The cells of all parts, each known once those before it have rows."""
    for dataset, methods, batches in PARTS:
        for batch, method in itertools.product(batches, methods):
            if wanted(method):
                yield from plan(cells, dataset, method, batch)


def finals(cells: dict) -> dict:
    """Rows on the test split by (data set, method, batch), where any are."""
    found = {}
    for dataset, methods, batches in PARTS:
        for method, batch in itertools.product(methods, batches):
            with contextlib.suppress(KeyError):
                rows = [
                    cells[key(**cell)]
                    for cell in plan(cells, dataset, method, batch)
                    if cell["seed"] in SEEDS and key(**cell) in cells
                ]
                if rows:
                    found[dataset, method, batch] = rows
    return found


def table(cells: dict) -> str:
    """What is there, as Markdown: mean and half-interval of kNN and ridge."""
    lines = [
        "| data | method | B | kNN | ridge | seeds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (dataset, method, batch), rows in sorted(finals(cells).items()):
        lines.append(f"| {dataset} | `{method}` | {batch} | {shown(rows)} |")
    trials = sum(" s=0" in name for name in cells)
    diverged = sum(row["diverged"] for row in cells.values())
    lines += [
        "",
        f"{len(cells)} cells of {IMAGES:,} images, {trials} of them trials on "
        f"held-out training images; {diverged} diverged.",
        "",
        *differences(finals(cells)),
    ]
    return "\n".join(lines) + "\n"


def differences(rows: dict) -> list[str]:
    """MINC less others, between runs of one seed, as Markdown."""
    columns = {
        "`spectral`": ("spectral", 1),
        "`spectral_minc_head`": ("spectral_minc_head", 1),
        "`minc_floor_03`": ("minc_floor_03", 1),
        "`minc_batch`": ("minc_batch", 1),
        "`minc_paper`": ("minc_paper", 1),
        "`spectral` at 8 B": ("spectral", 8),
    }
    heads = ("data", "B", "of", *(f"less {name}" for name in columns))
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for dataset, method, batch in sorted(rows):
        if method in ("minc", "minc_floor_03"):
            found = [
                less(
                    rows[dataset, method, batch],
                    rows.get((dataset, other, times * batch)),
                )
                if other != method
                else ""
                for other, times in columns.values()
            ]
            cells = (dataset, batch, f"`{method}`", *found)
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def less(rows: list[dict], others: list[dict] | None) -> str:
    """Mean difference of the means of kNN and ridge, and its half-interval."""
    if not others or len(rows) != len(others):
        return ""
    pairs = zip(rows, others, strict=True)
    mean, half = interval([score(row) - score(other) for row, other in pairs])
    return f"{mean:+.1f}" if len(rows) == 1 else f"{mean:+.1f} ± {half:.1f}"


def write_chart(path, cells: dict) -> None:
    """Accuracy against batch size, a line a method, a panel a data set."""
    from matplotlib.figure import Figure

    rows = finals(cells)
    datasets = sorted({dataset for dataset, _, _ in rows})
    if not datasets:
        return
    figure = Figure(figsize=(4.5 * len(datasets), 3.6), layout="constrained")
    panels = figure.subplots(1, len(datasets), squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        for method in METHODS:
            batches = sorted(
                b for d, m, b in rows if (d, m) == (dataset, method)
            )
            if not batches:
                continue
            found = [
                interval([score(row) for row in rows[dataset, method, batch]])
                for batch in batches
            ]
            means, halves = zip(*found, strict=True)
            axes.errorbar(batches, means, halves, label=method, capsize=3)
        axes.set_xscale("log", base=2)
        axes.set_xlabel("pairs in a batch")
        axes.set_title(dataset)
        axes.legend()
    panels[0].set_ylabel("mean of kNN and ridge accuracy, %")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    app.launch(main)
