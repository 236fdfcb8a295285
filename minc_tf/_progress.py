"""The progress bar of what goes through many images."""

import contextlib
import logging
import sys
import warnings

from tqdm import tqdm

_LOGGER = logging.getLogger("minc_tf")


class ImageBar(tqdm):
    """A bar that ends its line before a warning or log, and goes on below."""

    _open_line = False

    def __init__(self, **kwargs):
        """See `tqdm`."""
        super().__init__(**kwargs)
        self._handler = _EndsLine(self)
        if not self.disable:
            # Before those that write.
            _LOGGER.handlers.insert(0, self._handler)
            self._warn_before = warnings.showwarning
            self._warn = warnings.showwarning = self._show_warning

    def display(self, *args, **kwargs):
        """Draw the bar, which leaves its line open."""
        self._open_line = True
        return super().display(*args, **kwargs)

    def end_line(self):
        """End the line of the bar, if it is drawn."""
        if self._open_line:
            self.fp.write("\n")
            self.fp.flush()
            self._open_line = False

    def close(self):
        """Close the bar; what is written then is not its business."""
        if not self.disable:
            _LOGGER.removeHandler(self._handler)
            if warnings.showwarning == self._warn:
                warnings.showwarning = self._warn_before
        super().close()

    def _show_warning(self, *args, **kwargs):
        self.end_line()
        self._warn_before(*args, **kwargs)


class _EndsLine(logging.Handler):
    """Writes nothing but the end of a bar's line."""

    def __init__(self, bar):
        super().__init__()
        self._bar = bar

    def emit(self, record):
        """End the line for those that write the record."""
        with contextlib.suppress(OSError):  # a closed terminal
            self._bar.end_line()
        # Where nobody shows it, Python would, but for this handler.
        handlers = (*_LOGGER.handlers, *logging.getLogger().handlers)
        silent = (logging.FileHandler, _EndsLine)
        last = logging.lastResort
        shown = not all(isinstance(each, silent) for each in handlers)
        if last and not shown and record.levelno >= last.level:
            last.handle(record)


def image_bar(label: str, total: int, done: int = 0, shown: bool = True):
    """A `tqdm` bar on standard output: images, rate, time that remains."""
    return ImageBar(
        total=total,
        initial=done,
        desc=label,
        unit="img",
        unit_scale=True,
        file=sys.stdout,
        dynamic_ncols=True,
        # A log file gets a line now and then instead of ten a second.
        mininterval=0.2 if sys.stdout.isatty() else 10.0,
        disable=not shown,
    )
