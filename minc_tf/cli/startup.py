"""TensorFlow's start, without what it says of itself."""

import contextlib
import glob
import os
import re
import sys
import tempfile

from minc_tf._imports import around_import

#: The environment variable of how much it says.
LEVEL = "TF_CPP_MIN_LOG_LEVEL"

#: Lines that say nothing about the run, although some of them are errors.
_NOISE = re.compile(
    r"""
    WARNING:\ All\ log\ messages\ before\ absl::InitializeLog
    | I\d{4}\ [\d:.]+\s | \S+\ \S+\ I\ \w+/  # information
    | .*Unable\ to\ register\ cu\w+\ factory
    | .*computation\ placer\ already\ registered
    | To\ enable\ the\ following\ instructions:
    """,
    re.VERBOSE,
)

#: Also where there is no GPU.
_NO_GPU = re.compile(r".*(failed call to cuInit|Could not find cuda drivers)")


def quieten() -> None:
    """Have TensorFlow start silently; `TF_CPP_MIN_LOG_LEVEL=0` shows all.

    Its library writes lines past its own levels, so standard error is filtered.
    """
    if os.environ.get(LEVEL) == "0" or "tensorflow" in sys.modules:
        return
    os.environ.setdefault(LEVEL, "1")
    around_import("tensorflow", _starting)


@contextlib.contextmanager
def _starting(module):
    """The import of TensorFlow, and its look for devices."""
    with _filtered():
        yield
        module.config.list_physical_devices()


@contextlib.contextmanager
def _filtered():
    """Keep back the process's standard error, then write what matters."""
    try:
        kept = os.dup(2)
    except OSError:  # closed
        yield
        return
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            text = file.read().decode(errors="replace")
            lines = text.splitlines(keepends=True)
            matters = "".join(line for line in lines if not is_noise(line))
            if matters:
                os.write(2, matters.encode())


def is_noise(line: str) -> bool:
    """Whether a line of TensorFlow's start says nothing about a run."""
    if _NO_GPU.match(line):
        return not glob.glob("/dev/nvidia[0-9]*")
    return bool(_NOISE.match(line))
