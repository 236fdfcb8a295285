"""What a run leaves for those who look at it."""

import contextlib
import logging
import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from minc_tf import diagnostics, report
from minc_tf.diagnostics.vectors import check_features
from minc_tf.report.embedding import make_snapshot, save_snapshot
from minc_tf.report.page import write_report

_LOGGER = logging.getLogger(__name__)


def finish_run(
    workdir: str | os.PathLike,
    *,
    features: np.ndarray,
    embeddings: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    step: int = 0,
    seed: int = 0,
    defaults: dict | None = None,
) -> pathlib.Path:
    """Write the pictures of a run that has ended, and its page.

    The folder gets `embedding.npz`, `report.html`, and in `events/embedding`
    the projector's files and the picture of the spectrum (not on JAX). What
    cannot be written is logged as a warning, and the rest still is: the run
    has ended whatever becomes of its pictures.

    Args:
        workdir: path of the run's folder, with its config.json.
        features: float array (N, D), the encoder's outputs.
        embeddings: float array (N, d), the projector's.
        images: uint8 array (N, H, W, 3).
        labels: optional int array (N,), -1 where unknown.
        class_names: optional strings, by label.
        step: int, the last step, for TensorBoard.
        seed: int, of the map.
        defaults: optional dict, the default settings; see `write_report`.

    Returns:
        The path of the page.

    Example:
    ```python
    minc_tf.report.finish_run(
        "runs/shapes", features=features, embeddings=z, images=images
    )
    ```
    """
    folder = pathlib.Path(workdir)
    snapshot, page = folder / "embedding.npz", folder / "report.html"
    events = folder / "events" / "embedding"
    shown = (features, images, labels, class_names)
    on_tensorflow = keras.backend.backend() == "tensorflow"
    with _warned(snapshot):
        z = check_features("embeddings", embeddings)
        spectrum = np.asarray(diagnostics.spectrum(z))
        made = make_snapshot(*shown, spectrum=spectrum, seed=seed)
        save_snapshot(snapshot, made)
        if on_tensorflow:
            report.write_spectrum(events, spectrum, step)
    if on_tensorflow:
        with _warned(events):
            report.write_projector(events, *shown, seed=seed)
    with _warned(page):
        write_report(folder, page, defaults=defaults)
    return page


@contextlib.contextmanager
def _warned(path):
    """Log as a warning why a file cannot be written."""
    errors = [ImportError, OSError, ValueError]
    if keras.backend.backend() == "tensorflow":
        from tensorflow.errors import OpError

        errors.append(OpError)
    try:
        yield
    except tuple(errors) as error:
        _LOGGER.warning("%s is not written: %s", path, error)
