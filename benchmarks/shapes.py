"""MINC and the spectral loss on the embedded shapes, at small batches.

    python benchmarks/shapes.py --minutes=60

The views and mu of the recipe `recipes/shapes/minc.py`, an encoder of a third
more channels, and for each batch a learning rate and a number of images, the
same for all methods: nothing is chosen here. Three seeds; kNN (k = 20) and
ridge accuracy of the features on test pictures. MINC's default
and the spectral loss, each with its own projector and with the other's (MINC's
ends in a bias, the spectral loss's in a batch normalisation), MINC whose rate
may fall to 0.3, and at batch 64 the batch's own moment as Lambda. A cell that
is in `benchmarks/results/shapes.json` is not run again; without `--minutes` the
table is written of what is there.
"""

import pathlib

from absl import flags
from grid import SEEDS, SHAPES, fill, key, shown, wanted, write
from record import ROOT

from minc_tf.cli import app

METHODS = (
    *("minc", "spectral", "spectral_minc_head", "minc_floor_03"),
    "minc_spectral_head",
)
#: Learning rate, images and methods of each batch.
BATCHES = {
    16: (4e-3, 60_000, METHODS),
    8: (2.8e-3, 40_000, METHODS),
    64: (8e-3, 80_000, (*METHODS, "minc_batch")),
}

_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)


def main(_) -> None:
    """Runs cells that are missing, and writes the table."""
    record = pathlib.Path(_RESULTS.value) / "shapes.json"
    cells = fill(record, lambda _: filter(_wanted, all_cells()))
    write(record.with_suffix(".md"), table(cells))


def all_cells():
    """The cells, a seed after the other."""
    for seed in SEEDS:
        for batch, (rate, images, methods) in BATCHES.items():
            for method in methods:
                yield {
                    "dataset": SHAPES,
                    "method": method,
                    "batch": batch,
                    "scale": 10.0,
                    "rate": rate,
                    "seed": seed,
                    "images": images,
                }


def _wanted(cell):
    return wanted(cell["method"])


def table(cells: dict) -> str:
    """Mean and half-interval of kNN and ridge accuracy, in %."""
    lines = [
        "| B | method | kNN | ridge | seeds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for batch in sorted(BATCHES):
        for method in BATCHES[batch][2]:
            rows = [
                cells[key(**cell)]
                for cell in all_cells()
                if (cell["method"], cell["batch"]) == (method, batch)
                and key(**cell) in cells
            ]
            if not rows:
                continue
            lines.append(f"| {batch} | `{method}` | {shown(rows)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.launch(main)
