"""Folders that TensorFlow Datasets prepared: where they are, what they hold."""

import dataclasses
import fnmatch
import json
import os
import pathlib

INFO = "dataset_info.json"
_FEATURES = "features.json"
# name/config/version, and one folder above.
_DEPTH = 4
_MOST_FOLDERS = 5_000


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared data set; `config` is empty where it has none.

    Of a damaged file `name` is the whole path, whose parts may be it.
    """

    folder: pathlib.Path
    name: str
    config: str
    version: str

    def __str__(self):
        config = f"/{self.config}" if self.config else ""
        return f"'{self.name}{config}:{self.version}' in {str(self.folder)!r}"

    def is_called(self, name: str) -> bool:
        """Tell whether `name/config:version` means it, with parts left out."""
        name, _, version = name.partition(":")
        name, _, config = name.partition("/")
        parts = pathlib.Path(self.name).parts
        return (
            name in parts
            and config in ("", self.config, *parts)
            and fnmatch.fnmatch(self.version, version or "*")
        )


def find_prepared(data_dir: pathlib.Path) -> list[Prepared]:
    """Find the data sets prepared in a folder, or up to four levels below."""
    found, seen = [], 0
    for base, folders, files in os.walk(data_dir):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name != "downloads"
        )
        folder, seen = pathlib.Path(base), seen + 1
        depth = len(folder.relative_to(data_dir).parts)
        if INFO in files:
            found.append(_describe(folder))
        if INFO in files or depth == _DEPTH or seen == _MOST_FOLDERS:
            folders.clear()
    return found


def choose_prepared(
    found: list[Prepared], name: str, data_dir: pathlib.Path
) -> Prepared | None:
    """Return the newest version of a data set `name/config:version`.

    Version and config may be left out, unless it has several configs.
    """
    found = [prepared for prepared in found if prepared.is_called(name)]
    configs = sorted({prepared.config for prepared in found})
    if len(configs) > 1:
        raise ValueError(
            f"name must say which config of {name!r} to read from "
            f"{str(data_dir)!r}, as in '{name}/CONFIG': "
            f"{', '.join(map(repr, configs))}"
        )
    return max(found, key=_version_key, default=None)


def check_description(folder: pathlib.Path) -> None:
    """Raise unless the files that describe a data set are whole."""
    for name in (INFO, _FEATURES):
        path = folder / name
        try:
            whole = isinstance(json.loads(path.read_bytes()), dict)
            reason = "it holds something else"
        except (OSError, ValueError) as error:
            whole, reason = False, error
        if not whole:
            raise ValueError(
                f"{str(path)!r} must be the JSON that TensorFlow Datasets "
                f"wrote; it is damaged ({reason}): restore it, or prepare the "
                "data set again"
            )


def _describe(folder):
    try:
        info = json.loads((folder / INFO).read_bytes())
        keys = ("name", "configName", "version")
        found = [info[keys[0]], *(info.get(key, "") for key in keys[1:])]
        whole = all(isinstance(value, str) for value in found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:  # What is wrong with it is said when it is read.
        found = [str(folder), "", folder.name]
    return Prepared(folder, *found)


def _version_key(prepared):
    parts = prepared.version.split(".")
    return [int(part) if part.isdigit() else -1 for part in parts]
