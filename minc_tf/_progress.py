"""The progress bar of what goes through many images."""

import sys

from tqdm import tqdm


def image_bar(label: str, total: int, done: int = 0, shown: bool = True):
    """A `tqdm` bar on standard output: images, rate, time that remains."""
    return tqdm(
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
