"""A folder, on this machine or in a cloud store, and the files below it."""

import functools
import glob
import os
import re
from collections.abc import Iterator

from pyarrow import fs

from minc_tf.data.files import BadImageError, check_text, read_image_file

_MAGIC = re.compile(r"[*?\[]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_store(where: str) -> bool:
    """Whether a place is named by a URI, as `s3://bucket/folder`."""
    return _SCHEME.match(where) is not None


class Place:
    """A folder, or the URI of one, `s3://` and so on; picklable."""

    def __init__(self, where: str):
        self.store = is_store(where)
        self.where = where if self.store else os.path.abspath(where)

    def read(self, name: str) -> bytes:
        """Return what a file holds; a BadImageError if the file is at fault."""
        if not self.store:
            try:
                return read_image_file(os.path.join(self.where, name))
            except BadImageError:
                self.check_there()
                raise
        system, base = _opened(self.where)
        try:
            with system.open_input_stream(f"{base}/{name}") as file:
                return file.read()
        except (FileNotFoundError, PermissionError) as error:
            raise BadImageError(f"unreadable: {error}") from error

    def open(self, name: str):
        """Open a file for access at any place: a `pyarrow.NativeFile`."""
        system, base = _opened(self.where)
        return system.open_input_file(f"{base}/{name}")

    def check_there(self) -> None:
        """Refuse a folder that has gone: with it all images would be bad."""
        if not self.store and not os.path.isdir(self.where):
            raise FileNotFoundError(
                f"the folder {self.where!r} has gone; with it in place the "
                "same command goes on"
            )


# A connection a process; threads share it.
@functools.lru_cache(16)
def _opened(where):
    system, base = fs.FileSystem.from_uri(where)
    return system, base.rstrip("/")


def find(where: str) -> tuple[Place, list[str]]:
    """Return the place and the sorted names of files, hidden ones left out.

    `where` is a file, a glob, or the URI of a file, a glob, or a whole folder.
    """
    whole = not is_store(where) and os.path.exists(where)
    magic = None if whole else _MAGIC.search(where)
    if not is_store(where):
        head = where[: magic.start()] if magic else where
        place = Place(os.path.dirname(head) or ".")
        found = [where] if whole else glob.glob(where, recursive=True)
        found = [os.path.relpath(path, place.where) for path in found]
        names = [n for n in found if not os.path.isdir(f"{place.where}/{n}")]
    else:
        place, names = _find_in_store(where)
    names = sorted(filter(_shown, names))
    if not names:
        raise FileNotFoundError(
            f"images must be there; received {where!r}, where no file is"
        )
    for name in names:
        check_text("images", place.where, name)
    return place, names


def _shown(name):
    return not any(
        part.startswith((".", "__MACOSX")) and part not in (".", "..")
        for part in name.split("/")
    )


def _find_in_store(where):
    # What follows a question mark describes the store.
    bare, mark, query = where.partition("?")
    magic = _MAGIC.search(bare)
    pattern = None
    if magic:
        base = bare[: bare.rindex("/", 0, magic.start())]
        pattern = re.compile(_translate(bare[len(base) + 1 :]))
        bare = base
    try:
        system, path = fs.FileSystem.from_uri(bare + mark + query)
    except (ValueError, ImportError, NotImplementedError) as error:
        raise ValueError(
            f"images must be in a store that pyarrow knows; received {where!r}:"
            f" {error}"
        ) from error
    path = path.rstrip("/")
    if system.get_file_info(path).type == fs.FileType.File:
        bare, name = bare.rstrip("/").rsplit("/", 1)
        return Place(bare + mark + query), [name]
    selector = fs.FileSelector(path, recursive=True, allow_not_found=True)
    names = list(_files_below(system, selector, path))
    if pattern:
        names = [name for name in names if pattern.fullmatch(name)]
    return Place(bare + mark + query), names


def _files_below(system, selector, path) -> Iterator[str]:
    for info in system.get_file_info(selector):
        if info.type == fs.FileType.File:
            yield info.path[len(path) :].lstrip("/")


def _translate(pattern):
    """A pattern of a shell, `**` for any depth, as a regular expression."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}

    def piece(match):
        text = match.group()
        if text in parts:
            return parts[text]
        if text.startswith("[") and len(text) > 1:
            return text.replace("[!", "[^")
        return re.escape(text)

    return re.sub(r"\*\*/|\*\*|\*|\?|\[[^]]+\]|.", piece, pattern)
