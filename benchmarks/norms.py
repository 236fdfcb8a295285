"""Which part of MINC lets raw embeddings grow far beyond the norm bound.

    python benchmarks/norms.py --data=DIR --minutes=60

The embedding is clipped to the norm sqrt(mu), and beyond it feels no radial
force. Short runs, alike but for how Lambda is followed, whether an
image's own pairs are in it, and the projector's last layer, at one seed, on
held-out training images: share of embeddings beyond the bound, the largest in
bounds, effective ranks before and after the clip, and accuracies. Writes
`norms.json` and `norms.md` to `benchmarks/results`; a cell that is there is not
run again.
"""

import pathlib

from absl import flags
from grid import CHOICE_SEED, METHODS, fill, listed, write
from record import ROOT

from minc_tf.cli import app

SCALE = 10.0
#: Data sets and batches, with their learning rates.
RATES = {
    ("cifar10_jpeg", 64): 4e-3,
    ("cifar10_jpeg", 512): 4e-3 * 8**0.5,
    ("tiny_imagenet50", 64): 4e-3,
}
#: Arguments of `MINC`; None: a method as `grid` has it.
FORMS = {
    "spectral": None,
    "spectral_minc_head": None,
    "batch, self-pairs in": {"rate": 1.0, "self_pairs": True},
    "batch": {"rate": 1.0},
    "mean .3, self-pairs in": {"rate": 0.3, "self_pairs": True},
    "mean .3": {"rate": 0.3},
    "corrected .3, self-pairs in": {
        "tracking": "corrected",
        "rate": 0.3,
        "self_pairs": True,
    },
    "corrected .3": {"tracking": "corrected", "rate": 0.3},
    "corrected, from .3": {"tracking": "corrected", "floor": 0.3},
    "default (corrected, from .6)": {"tracking": "corrected"},
    "minc_spectral_head": None,
}
COLUMNS = {
    "data": "dataset",
    "B": "batch",
    "Lambda": "method",
    "beyond the bound, %": "above",
    "largest, in bounds": "largest",
    "effective rank before the clip": "raw_rank",
    "after": "rank",
    "kNN": "knn",
    "ridge": "ridge",
}

_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)


def main(_) -> None:
    """Runs cells that are missing, and writes the table."""
    for form, options in FORMS.items():
        if options is not None:
            given = {"triangular": False, "tracking": "mean", **options}
            METHODS[form] = ("minc", "mu", (SCALE,), given)
    record = pathlib.Path(_RESULTS.value) / "norms.json"
    cells = fill(record, lambda _: all_cells())
    write(record.with_suffix(".md"), listed(cells, all_cells(), COLUMNS))


def all_cells():
    """The cells of each data set and batch, a form after the other."""
    for (dataset, batch), rate in RATES.items():
        for form in FORMS:
            yield {
                "dataset": dataset,
                "method": form,
                "batch": batch,
                "scale": SCALE,
                "rate": rate,
                "seed": CHOICE_SEED,
            }


if __name__ == "__main__":
    app.launch(main)
