"""Accuracy against the width of the encoder: MINC and the spectral loss.

    python benchmarks/width.py --data=DIR --minutes=60

The second axis of the paper. Scale and learning rate are chosen at width 1, as
`batch_size.py` does and from its record, so that it is to be run first; the
encoder then has half, once and twice the channels. Seeds, images and record as
there; what is here is in `benchmarks/results/width.json`.
"""

import json
import pathlib

from absl import flags
from grid import CHOICE_BATCH, SEEDS, fill, key, plan, shown, wanted, write
from record import ROOT

from minc_tf.cli import app

DATASET, METHODS, FACTORS = "cifar10_jpeg", ("minc", "spectral"), (0.5, 2.0)

_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the records."
)


def main(_) -> None:
    """Runs cells that are missing, and writes the table."""
    folder = pathlib.Path(_RESULTS.value)
    chosen = json.loads((folder / "batch_size.json").read_text())

    def cells_of_widths(cells):
        for factor in FACTORS:
            for method in filter(wanted, METHODS):
                for cell in final_cells(chosen, method):
                    yield {**cell, "width": factor}

    cells = {**chosen, **fill(folder / "width.json", cells_of_widths)}
    write(folder / "width.md", table(chosen, cells))


def final_cells(chosen: dict, method: str) -> list[dict]:
    """The cells of width 1 of a method, with what was chosen for it."""
    cells = plan(chosen, DATASET, method, CHOICE_BATCH)
    return [cell for cell in cells if cell["seed"] in SEEDS]


def table(chosen: dict, cells: dict) -> str:
    """Mean and half-interval of kNN and ridge accuracy, in %."""
    lines = [
        f"| method, B = {CHOICE_BATCH} | width | kNN | ridge | seeds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for method in METHODS:
        for factor in sorted((1.0, *FACTORS)):
            names = [
                key(**cell, width=factor)
                for cell in final_cells(chosen, method)
            ]
            rows = [cells[name] for name in names if name in cells]
            if not rows:
                continue
            lines.append(f"| `{method}` | {factor} | {shown(rows)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.launch(main)
