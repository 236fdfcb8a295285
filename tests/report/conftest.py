"""Folders as runs leave them, without training."""

import csv
import json

import matplotlib.image
import numpy as np
import pytest

from minc_tf import report

CONFIG = {
    "seed": 0,
    "batch_size": 64,
    "epochs": 3,
    "data": {"name": "shapes", "num_examples": None},
    "encoder": {"name": "small_resnet", "filters": [4, 8]},
    "objective": {"name": "minc", "dim": 8},
    "optimizer": {"name": "adamw", "learning_rate": 0.001},
}
ROWS = [
    {"epoch": 1, "step": 4, "loss": -0.5, "knn_accuracy": 0.25, "rate": 1.0},
    {"epoch": 2, "step": 8, "loss": -1.5, "knn_accuracy": "", "rate": 0.5},
    {"epoch": 3, "step": 12, "loss": -2.25, "knn_accuracy": 0.75, "rate": 0.5},
]
SUMMARY = {
    "epoch": 3,
    "seconds": 3723.0,
    "images_per_second": 1234.5,
    "collapse": "",
    "ended": "2026-01-31T14:05:59+0000",
    "versions": {"commit": "abc123", "tensorflow": "2.21.0"},
    "skipped": [],
}


def write_rows(path, rows):
    """A table as a run writes it."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def unfinished_run(folder, **config):
    """What a run leaves that was stopped early: settings and one picture."""
    (folder / "pictures").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    picture = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    matplotlib.image.imsave(folder / "pictures" / "views.png", picture)
    return folder


def finished_run(folder, snapshot=None, summary=SUMMARY, **config):
    """What a run leaves that ended."""
    unfinished_run(folder, **config)
    write_rows(folder / "metrics.csv", ROWS)
    seconds = [{"epoch": row["epoch"], "seconds": 1.5} for row in ROWS]
    write_rows(folder / "timing.csv", seconds)
    (folder / "summary.json").write_text(json.dumps(summary))
    picture = np.full((40, 40, 3), 128, np.uint8)
    matplotlib.image.imsave(folder / "pictures" / "neighbours.png", picture)
    if snapshot is not None:
        report.save_snapshot(folder / "embedding.npz", snapshot)
    return folder


@pytest.fixture(scope="session")
def clusters():
    """Features of three classes far apart: (features, images, labels)."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    centres = 5.0 * np.eye(3, 16)
    features = centres[labels] + 0.3 * rng.normal(size=(60, 16))
    images = np.zeros((60, 8, 8, 3), np.uint8)
    images[np.arange(60), :, :, labels] = 200
    images[:, 0, 0] = np.arange(60)[:, None]
    return features, images, labels


@pytest.fixture(scope="session")
def snapshot(clusters):
    """The snapshot of the clusters; one class is named as an attack."""
    names = ("red", "<script>alert(1)</script>", "a & b")
    return report.make_snapshot(*clusters, names)
