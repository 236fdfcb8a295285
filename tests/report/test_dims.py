"""Plots and charts of how many coordinates are kept."""

import pytest

from minc_tf.evaluation import plot_dims
from minc_tf.report import dims


def test_plot(tmp_path):
    rows = [
        {"dim": d, "knn_accuracy_k5": d / 40, "retrieval_recall_at_1": 0.5}
        for d in (4, 8, 32)
    ]
    sure = [{**row, "knn_accuracy_k5_ci95": 0.02} for row in rows]
    curves = {"MINC": sure, "SimCLR": rows, "PCA": rows}
    path = tmp_path / "dims.png"
    plot_dims(curves, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    plot_dims(curves, tmp_path / "one.svg", metrics=["knn_accuracy_k5"])
    text = (tmp_path / "one.svg").read_text()
    assert text.count('<g id="axes_') == 1
    for name in (*curves, "coordinates kept"):
        assert f"<!-- {name} -->" in text
    with pytest.raises(ValueError, match="curves must have rows with"):
        plot_dims(curves, path, metrics=["ridge_accuracy"])
    with pytest.raises(ValueError, match="rows with none"):
        plot_dims({}, path)


def test_charts_have_bands_and_no_chart_of_intervals():
    rows = [
        {
            "dim": d,
            "ridge_accuracy": d / 40,
            "ridge_accuracy_ci95": half,
            "ridge_held_out_accuracy": [0.5, 0.6],
        }
        for d, half in ((4, 0.1), (12, 0.02))
    ]
    plain = [{"dim": 4, "ridge_accuracy": 0.4}]
    (chart,) = dims.dims_charts([("MINC", 0, rows), ("other", 1, plain)])
    assert chart.title == "Ridge accuracy, %"
    assert chart.legend == [("MINC", 0), ("other", 1)]
    for tick in ("4", "12"):
        assert f">{tick}</text>" in chart.svg
    bare = dims.dims_charts([("MINC", 0, plain)])[0].svg
    assert "opacity: 0.2" in chart.svg and "opacity: 0.2" not in bare
