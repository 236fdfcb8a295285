"""Runs to look at: the page of a run, and what TensorBoard shows of it.

Names are imported when they are first used: the page needs no TensorFlow, what
is for TensorBoard does.
"""

from typing import TYPE_CHECKING

from minc_tf._lazy import lazy_names

if TYPE_CHECKING:
    from minc_tf.report.dims import plot_dims as plot_dims
    from minc_tf.report.embedding import Snapshot as Snapshot
    from minc_tf.report.embedding import embedding_map as embedding_map
    from minc_tf.report.embedding import load_snapshot as load_snapshot
    from minc_tf.report.embedding import make_snapshot as make_snapshot
    from minc_tf.report.embedding import save_snapshot as save_snapshot
    from minc_tf.report.finish import finish_run as finish_run
    from minc_tf.report.page import write_report as write_report
    from minc_tf.report.projector import write_projector as write_projector
    from minc_tf.report.projector import write_spectrum as write_spectrum
    from minc_tf.report.runs import read_spectra as read_spectra
    from minc_tf.report.runs import write_spectra as write_spectra

_LAZY = {
    "Snapshot": "embedding",
    "embedding_map": "embedding",
    "finish_run": "finish",
    "load_snapshot": "embedding",
    "make_snapshot": "embedding",
    "plot_dims": "dims",
    "read_spectra": "runs",
    "save_snapshot": "embedding",
    "write_projector": "projector",
    "write_report": "page",
    "write_spectra": "runs",
    "write_spectrum": "projector",
}

__all__ = [*_LAZY]

__getattr__ = lazy_names(
    __name__,
    _LAZY,
    needs="matplotlib, Pillow and jinja2, for TensorBoard TensorFlow",
)


def __dir__():
    return sorted(__all__)
