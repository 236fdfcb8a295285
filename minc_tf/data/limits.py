"""How much one image, and all that are decoded at a time, may take.

The one place for both: training, evaluation, embedding and serving read the
size of an image from its header and refuse what is larger than the limit
before any of it is decoded.
"""

import contextlib
import threading
from collections.abc import Iterator

from minc_tf._checks import check_int

#: The most pixels of an image that is decoded, by default: 33.5 million.
MAX_PIXELS = 2**25

#: TensorFlow decodes no image of more than 2^29 bytes; a pixel may have four.
MOST_PIXELS = 2**27 - 1

#: Images of more pixels share a budget of memory while they are decoded.
LARGE_PIXELS = 2**20

#: Of that budget, in bytes.
DECODING_BYTES = 2**31


def check_max_pixels(name: str, value) -> None:
    """Raise unless a limit is an int from 1 to 2^27 - 1."""
    check_int(name, value, 1, MOST_PIXELS)


def too_large(height: int, width: int, max_pixels: int) -> str | None:
    """Say that an image is too large to be decoded; `None` if it is not."""
    if height * width <= max_pixels:
        return None
    return (
        f"too large: {width} x {height} pixels, more than max_pixels="
        f"{max_pixels}"
    )


class MemoryBudget:
    """Bytes that threads share; each waits until its own are free.

    What needs more than all of them waits to be alone.
    """

    def __init__(self, size: int):
        self._size, self._used = size, 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Hold a number of bytes inside a `with` block."""
        count = min(count, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._used + count <= self._size)
            self._used += count
        try:
            yield
        finally:
            with self._changed:
                self._used -= count
                self._changed.notify_all()
