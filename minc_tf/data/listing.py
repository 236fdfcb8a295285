"""What lies in a folder of images: the one rule for training and embedding."""

import collections
import os
from collections.abc import Iterable

from minc_tf.data.files import check_text, kind_of_file
from minc_tf.data.formats import IMAGE_SUFFIXES, why_not_read


class Listing:
    """The sorted names in a folder, read once: no call for each file.

    `images` are read, a link that leads nowhere among them; `left_out` says of
    others why they are not. Names that begin with a dot are ignored.
    """

    def __init__(self, base: str | os.PathLike):
        self.base = os.fspath(base)
        self.images, self.folders, self.others = [], [], []
        self.left_out = {}
        with os.scandir(self.base) as entries:
            for entry in entries:
                if not entry.name.startswith((".", "__MACOSX")):
                    self._add(entry)
        for names in (self.images, self.folders, self.others):
            names.sort()
        self.left_out = dict(sorted(self.left_out.items()))

    def path(self, name: str) -> str:
        """Return the path of one of the names."""
        return os.path.join(self.base, name)

    def _add(self, entry):
        suffix = os.path.splitext(entry.name)[1].lower()
        if entry.is_dir():
            self.folders.append(entry.name)
        elif suffix not in IMAGE_SUFFIXES:
            self.others.append(entry.name)
            return
        elif why := _irregular(entry) or why_not_read(suffix):
            self.left_out[entry.name] = why
        else:
            self.images.append(entry.name)
        check_text("images", self.base, entry.name)


def _irregular(entry):
    if entry.is_file() or not os.path.exists(entry.path):
        return None
    return f"{kind_of_file(entry.path)}, no regular file"


def count_kinds(names: Iterable[str]) -> str:
    """Count files by suffix, the most frequent first: `"2 .webp, 1 .txt"`."""
    suffixes = (os.path.splitext(name)[1].lower() for name in names)
    counts = collections.Counter(suffixes)
    return ", ".join(
        f"{count} {suffix or 'without suffix'}"
        for suffix, count in sorted(counts.items(), key=lambda c: (-c[1], c[0]))
    )
