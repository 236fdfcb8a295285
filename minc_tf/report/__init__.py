"""Runs to look at: the page of a run, and what TensorBoard shows of it.

Names are imported when they are first used: the page needs no TensorFlow, what
is for TensorBoard does.
"""

from minc_tf._lazy import lazy_names

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
