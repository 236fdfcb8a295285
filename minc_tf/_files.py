"""Files that are replaced in one atomic step."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike, folder: str | os.PathLike | None = None
) -> Iterator[pathlib.Path]:
    """A path to write to inside a `with` block, which then becomes `path`.

    Whoever reads `path` finds the file of before or the new one, whole, after
    a power cut or an error too. It is written in `folder`, which must be of the
    same file system, by default beside `path`.
    """
    path = pathlib.Path(path)
    folder = path.parent if folder is None else pathlib.Path(folder)
    part = folder / f".{path.stem}.part{path.suffix}"
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
