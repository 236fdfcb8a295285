"""What is read of a run's folder, and what is refused."""

import json
import pathlib

import numpy as np
import pytest

from minc_tf import report
from minc_tf.report import runs

from .conftest import finished_run, unfinished_run


def test_a_run_is_read(tmp_path, snapshot):
    folder = finished_run(tmp_path / "a", snapshot)
    (run,) = runs.read_runs([folder])
    assert run.label == "a"
    # Not measured at the second epoch; the position is no curve.
    assert run.curves["knn_accuracy"] == runs.Curve([1, 3], [0.25, 0.75])
    assert run.curves["seconds"].values == [1.5] * 3
    assert set(run.curves) == {"loss", "knn_accuracy", "rate", "seconds"}
    assert run.snapshot.class_names == snapshot.class_names


def test_spectra_come_back(tmp_path):
    folder = unfinished_run(tmp_path / "a")
    spectra = {5: np.array([1.0, 0.25]), 1: np.array([0.5, 1e-9])}
    report.write_spectra(folder / "spectrum.csv", spectra)
    (run,) = runs.read_runs([folder])
    assert list(run.spectra) == [1, 5]
    for epoch, spectrum in spectra.items():
        np.testing.assert_allclose(run.spectra[epoch], spectrum)


def test_labels_tell_runs_apart():
    paths = map(pathlib.Path, ("/x/a/run", "/x/b/run", "/y/other"))
    assert runs.short_labels(list(paths)) == ["a/run", "b/run", "y/other"]
    assert runs.short_labels([pathlib.Path("/x/run")]) == ["run"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "{", "config.json is not a file"),
        ("config.json", "[]", "config.json must hold a dict; received list"),
        ("summary.json", "\0", "summary.json is not a file"),
        ("metrics.csv", "epoch,loss\n1,a\n", r"metrics.csv, line 2: .*'a'"),
        ("metrics.csv", "epoch,loss\n1\n", "metrics.csv, line 2: .*header"),
        ("metrics.csv", "epoch,loss\n1,2,3\n", "metrics.csv, line 2: .*header"),
        ("metrics.csv", "loss\n1\n", "metrics.csv must have an epoch"),
        ("metrics.csv", "epoch\nnan\n", "metrics.csv must have an epoch"),
        ("metrics.csv", "epoch\n1\n\udcff\n", "metrics.csv, line 3: not UTF"),
        ("spectrum.csv", "epoch,1\n1,x\n", "spectrum.csv, line 2"),
        ("evaluation.json", '[{"k": 1}]', "minc-evaluate.*'k': 1"),
        ("evaluation.json", "{}", "must hold a list; received dict"),
        ("embedding.npz", "nothing", "embedding.npz is .*damaged.*removed"),
        ("pictures/views.png", "nothing", "views.png: not a PNG"),
    ],
)
def test_broken_files_are_named(tmp_path, name, text, message):
    folder = finished_run(tmp_path / "broken")
    (folder / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=message) as caught:
        report.write_report(folder)
    assert str(folder) in str(caught.value)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("line", [1, 3])
def test_line_that_csv_cannot_read(tmp_path, line):
    folder = finished_run(tmp_path / "broken")
    lines = ["epoch", "1", "2"]
    lines[line - 1] = "1" * 200_000  # longer than a field may be
    (folder / "metrics.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=f"metrics.csv, line {line}: field"):
        report.write_report(folder)


def test_dims_without_dim(tmp_path):
    folder = unfinished_run(tmp_path / "a")
    entry = {"results": {}, "dims": {"pca": [{"knn_accuracy_k20": 0.5}]}}
    (folder / "evaluation.json").write_text(json.dumps([entry]))
    with pytest.raises(ValueError, match="minc-evaluate"):
        runs.read_runs([folder])
