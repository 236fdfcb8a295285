"""Files that are opened: regular ones, with names that are text."""

import errno
import os
import stat

#: Errors that are not the file's: too little memory, too many open files.
_NOT_THE_FILE = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EINTR)


class BadImageError(ValueError):
    """What is wrong with the file of an image, and with nothing else."""


def read_image_file(path: str | bytes | os.PathLike) -> bytes:
    """Read a regular file; what is its own fault is a BadImageError."""
    if "://" in os.fsdecode(path):
        return _read_remote(path)
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadImageError(f"{kind_of_file(path)}, no regular file")
            return file.read()
    except OSError as error:
        if error.errno in _NOT_THE_FILE:
            raise
        raise BadImageError(f"unreadable: {error.strerror}") from error


def _open_without_waiting(path, flags):
    # A pipe would wait for somebody to write into it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_remote(path):
    import tensorflow as tf

    try:
        return tf.io.read_file(path).numpy()
    except (tf.errors.NotFoundError, tf.errors.PermissionDeniedError) as error:
        raise BadImageError(f"unreadable: {error.message}") from error


def check_regular(argument: str, path: str | os.PathLike) -> None:
    """Raise unless a path is a regular file, or a link to one.

    To open a pipe, socket or device may wait for ever.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(
            f"{argument} must be a regular file; {os.fspath(path)!r} is "
            f"{kind_of_file(path)}"
        )


def kind_of_file(path: str | os.PathLike) -> str:
    """Say in words what a path is that is no regular file."""
    mode = os.stat(path).st_mode
    kinds = {
        "a folder": stat.S_ISDIR,
        "a named pipe": stat.S_ISFIFO,
        "a socket": stat.S_ISSOCK,
    }
    found = (kind for kind, test in kinds.items() if test(mode))
    return next(found, "a device")


def check_text(argument: str, folder: str | os.PathLike, name: str) -> None:
    """Raise unless a name is text: TensorFlow and tables hold only that."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{argument} must be files whose names are UTF-8; received "
            f"{os.fsencode(name)!r} in {os.fsencode(folder)!r}; rename it"
        ) from error
