"""Runs to look at: the page of a run, and what TensorBoard shows of it."""

from minc_tf.report.dims import plot_dims
from minc_tf.report.embedding import (
    Snapshot,
    embedding_map,
    load_snapshot,
    make_snapshot,
    save_snapshot,
)
from minc_tf.report.finish import finish_run
from minc_tf.report.page import write_report
from minc_tf.report.projector import write_projector, write_spectrum
from minc_tf.report.runs import read_spectra, write_spectra

__all__ = [
    "Snapshot",
    "embedding_map",
    "finish_run",
    "load_snapshot",
    "make_snapshot",
    "plot_dims",
    "read_spectra",
    "save_snapshot",
    "write_projector",
    "write_report",
    "write_spectra",
    "write_spectrum",
]
