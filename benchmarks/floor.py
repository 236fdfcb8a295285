"""How far MINC's adaptive rate may fall.

    python benchmarks/floor.py --data=DIR --minutes=60

DIR has the prepared data sets `cifar10_jpeg` and `tiny_imagenet50`. Short runs
with mu = 10, alike but for `floor`, at one seed, on held-out training images:
accuracies, the largest raw embedding in norm bounds, and the effective rank
before the clip. The default of `MINC` was chosen by them. Writes `floor.json`
and `floor.md` to `benchmarks/results`; a cell that is there is not run again.
"""

import pathlib

from absl import flags
from grid import CHOICE_SEED, METHODS, SHAPES, fill, listed, write
from record import ROOT

from minc_tf.cli import app

SCALE = 10.0
#: Data set, batch and learning rate, and the floors that were tried there.
TRIALS = {
    ("tiny_imagenet50", 64, 8e-3): (0.3, 0.6, 0.8, 1.0),
    ("tiny_imagenet50", 16, 2e-3): (0.3, 0.6),
    ("cifar10_jpeg", 64, 8e-3): (0.3, 0.6),
    (SHAPES, 64, 8e-3): (0.3, 0.6),
    (SHAPES, 16, 4e-3): (0.3, 0.6),
    (SHAPES, 8, 2.8e-3): (0.3, 0.6),
}
COLUMNS = {
    "data": "dataset",
    "B": "batch",
    "MINC with": "method",
    "largest, in bounds": "largest",
    "effective rank before the clip": "raw_rank",
    "kNN": "knn",
    "ridge": "ridge",
}

_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)


def main(_) -> None:
    """Runs cells that are missing, and writes the table."""
    for floors in TRIALS.values():
        for floor in floors:
            given = {"triangular": False, "floor": floor}
            METHODS[_name(floor)] = ("minc", "mu", (SCALE,), given)
    record = pathlib.Path(_RESULTS.value) / "floor.json"
    cells = fill(record, lambda _: all_cells())
    write(record.with_suffix(".md"), listed(cells, all_cells(), COLUMNS))


def all_cells():
    """The cells of each data set and batch, a floor after the other."""
    for (dataset, batch, rate), floors in TRIALS.items():
        for floor in floors:
            yield {
                "dataset": dataset,
                "method": _name(floor),
                "batch": batch,
                "scale": SCALE,
                "rate": rate,
                "seed": CHOICE_SEED,
            }


def _name(floor):
    return f"floor={floor}"


if __name__ == "__main__":
    app.launch(main)
