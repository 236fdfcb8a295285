"""The end of a run."""

import json
import logging

import numpy as np

from minc_tf import report

from .conftest import CONFIG, SUMMARY, finished_run


def test_finished_run_gets_its_pictures(tmp_path, clusters):
    features, images, labels = clusters
    folder = finished_run(tmp_path / "a")
    page = report.finish_run(
        folder,
        features=features,
        embeddings=2.0 * features[:, :4],
        images=images,
        labels=labels,
        class_names=("red", "green", "blue"),
        step=12,
        defaults=CONFIG,
    )
    text = page.read_text()
    assert page == folder / "report.html"
    assert "Every setting is the default" in text and "green" in text
    found = report.load_snapshot(folder / "embedding.npz")
    z = 2.0 * features[:, :4]
    expected = np.linalg.eigvalsh(z.T @ z / 60)[::-1]
    np.testing.assert_allclose(found.spectrum, expected, rtol=1e-4)
    written = {path.name for path in (folder / "events/embedding").iterdir()}
    assert {"projector_config.pbtxt", "sprite.png", "tensors.tsv"} <= written
    assert any(name.startswith("events.out.tfevents") for name in written)


def test_pictures_that_fail_lose_nothing(tmp_path, clusters, caplog):
    """Embeddings that are not finite have no map; the page says so."""
    features, images, _ = clusters
    folder = finished_run(tmp_path / "a")
    with caplog.at_level(logging.WARNING, "minc_tf"):
        page = report.finish_run(
            folder,
            features=features * np.nan,
            embeddings=features,
            images=images,
        )
    assert "There is no map" in page.read_text()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert all("is not written: features must be finite" in m for m in messages)
    assert json.loads((folder / "summary.json").read_text()) == SUMMARY
