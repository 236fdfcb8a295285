"""Numbered version folders, written so that a server never sees half of one.

TensorFlow Serving polls a folder and loads the sub-folders whose names are
integers; every other name is invisible to it.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Callable

from minc_tf._checks import check_int


def latest_version(directory: str | os.PathLike) -> int | None:
    """Find the highest version number in a folder of exported models.

    Args:
        directory: path of the folder that holds `1/`, `2/`, ...

    Returns:
        The number as an int; `None` where the folder is missing or holds no
        version. Names that are not plain positive integers are passed over.

    Example:
    ```python
    minc_tf.export.latest_version("savedmodels/shapes")  # 3
    ```
    """
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return None
    versions = [int(n) for n in names if n.isascii() and n.isdigit()]
    versions = [v for v in versions if v > 0 and str(v) in names]
    return max(versions, default=None)


def find_version(path: str | os.PathLike) -> str:
    """Find the SavedModel folder that a path means.

    Args:
        path: a SavedModel folder, or the folder of its versions, of which the
            latest is taken.

    Returns:
        The path of a folder that contains `saved_model.pb`.

    Raises:
        FileNotFoundError: there is no SavedModel at `path`.

    Example:
    ```python
    minc_tf.export.find_version("savedmodels/shapes")  # savedmodels/shapes/3
    ```
    """
    path = os.fspath(path)
    candidates = [path]
    version = latest_version(path)
    if version is not None:
        candidates.append(os.path.join(path, str(version)))
    for candidate in candidates:
        if os.path.isfile(os.path.join(candidate, "saved_model.pb")):
            return candidate
    found = "does not exist"
    if version is not None:
        found = f"has version {version}, which has no saved_model.pb"
    elif os.path.exists(path):
        found = "holds neither saved_model.pb nor a numbered folder"
    raise FileNotFoundError(
        "path must be a SavedModel folder or the folder of its versions; "
        f"received {path!r}, which {found}"
    )


def write_version(
    directory: str | os.PathLike,
    write: Callable[[str], None],
    version: int | None = None,
) -> str:
    """Write a new version folder atomically; return its path.

    `write` fills an empty hidden folder, which is renamed when complete; only a
    killed process leaves one, which nobody takes for a version.
    """
    directory = os.fspath(directory)
    if version is not None:
        _check_version(directory, version)
    number = version or (latest_version(directory) or 0) + 1
    # Not tempfile.mkdtemp: its mode 0700 would survive the rename and lock
    # out a server that runs as another user.
    partial = os.path.join(
        directory, f".incomplete-{number}-{uuid.uuid4().hex[:8]}"
    )
    try:
        os.makedirs(directory, exist_ok=True)
        os.mkdir(partial)
    except OSError as error:
        raise ValueError(
            "directory must be a folder that can be written; received "
            f"{directory!r} ({error.strerror})"
        ) from error
    try:
        write(partial)
        while True:
            target = os.path.join(directory, str(number))
            if _rename(partial, target):
                return target
            if version is not None:
                _check_version(directory, version)
            number += 1  # another export took this one meanwhile
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _check_version(directory, version):
    check_int("version", version, 1, other_type=TypeError)
    if os.path.lexists(os.path.join(directory, str(version))):
        raise ValueError(
            f"version must be new; received {version}, which exists in "
            f"{directory!r}; the next free one is "
            f"{(latest_version(directory) or 0) + 1}"
        )


def _rename(partial, target):
    # os.replace would overwrite an empty folder.
    if os.path.lexists(target):
        return False
    try:
        os.replace(partial, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True
