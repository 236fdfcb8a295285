"""Files that are replaced in one atomic step."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A path to write to inside a `with` block, which then becomes `path`.

    Whoever reads `path` finds the file of before or the new one, whole, after
    a power cut too. An error in the block leaves the file of before.

    Args:
        path: path of the file, in a folder that exists.

    Returns:
        Context of a hidden path beside it, with the same suffix.
    """
    path = pathlib.Path(path)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield part
        _flush(part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    # Else a power cut could undo the replacement.
    _flush(path.parent)


def _flush(path):
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
