"""Where each file of the repository stands on the site, and links to it.

The pages of the repository link to one another, and to code, by paths that
work where the repository is browsed. On the site they lead to the same page;
what is no page of its own, such as a recipe, becomes one that shows the file.
"""

import pathlib
import posixpath
import re

ROOT = pathlib.Path(__file__).parents[2]

#: Folders whose pages move, by the longest match.
_MOVED = {
    "docs/": "",
    "benchmarks/results/": "records/",
    "": "",
}
#: A link or picture; group 2 is where it leads.
_LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")
#: What is no text of a page: fenced blocks, and code within a line.
_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]+`", re.M | re.S)
_LANGUAGES = {
    ".py": "python",
    ".sh": "bash",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".cff": "yaml",
    ".bib": "bibtex",
}
_PICTURES = (".png", ".svg")


class Site:
    """The files of a site that is built, by their paths on it.

    Args:
        root: folder of the repository.
        target: folder into which the sources of the site are written.
        made: dict from paths of files to the pages that are made of them.
    """

    def __init__(
        self,
        root: pathlib.Path,
        target: pathlib.Path,
        made: dict[str, str] | None = None,
    ):
        self.root = root
        self.target = target
        self.made = made or {}
        self.written: dict[str, str] = {}
        self._waiting: list[str] = []

    def place(self, path: str) -> str:
        """Path on the site of a file of the repository."""
        if path == "README.md":
            return "index.md"
        is_page = path in self.made
        before, after = next(
            pair for pair in _MOVED.items() if path.startswith(pair[0])
        )
        path = after + path[len(before) :]
        if path.endswith("README.md"):
            return path.removesuffix("README.md") + "index.md"
        if path.endswith(".md"):
            # CHANGELOG.md, and the like.
            return path.lower()
        if is_page:
            return str(pathlib.PurePosixPath(path).with_suffix(".md"))
        if path.endswith(_PICTURES):
            return path
        return f"files/{path}.md"

    def add(self, path: str) -> None:
        """Writes a file of the repository, and what it links to."""
        self._waiting.append(path)
        while self._waiting:
            path = self._waiting.pop()
            if path in self.written:
                continue
            self.written[path] = place = self.place(path)
            if path.endswith(_PICTURES):
                self.write(place, (self.root / path).read_bytes())
            elif path.endswith(".md") or path in self.made:
                self.write(place, self.rewrite(self.text(path), path, place))
            else:
                self.write(place, _shown(self.text(path), path))

    def text(self, path: str) -> str:
        """The text of a file, or what is made of it."""
        if path in self.made:
            return self.made[path]
        return (self.root / path).read_text(encoding="utf-8")

    def title(self, path: str) -> str:
        """The heading of a page, which says more than its path."""
        found = re.search(r"^#+ (.*)$", self.text(path), re.M)
        return found[1] if found else path

    def write(self, place: str, content: str | bytes) -> None:
        """Writes a file of the site."""
        file = self.target / place
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            content = content.encode()
        file.write_bytes(content)

    def rewrite(self, text: str, path: str, place: str) -> str:
        """A page's text with the links of a file as those of its place.

        Raises:
            FileNotFoundError: for a link to nothing.
        """
        folder = posixpath.dirname(path)

        def lead(match):
            label, link = match.groups()
            name, hash_, anchor = link.partition("#")
            if not name or re.match(r"\w+:", name):
                return match.group()
            found = posixpath.normpath(posixpath.join(folder, name))
            if (self.root / found).is_dir():
                found = f"{found}/README.md"
            if not (self.root / found).is_file():
                raise FileNotFoundError(f"{path}: no file for the link {link}")
            self._waiting.append(found)
            page = found.endswith(".md") or found in self.made
            if page and label == f"[{link}]":
                label = f"[{self.title(found)}]"
            start = posixpath.dirname(place) or "."
            new = posixpath.relpath(self.place(found), start)
            return f"{label}({new}{hash_}{anchor})"

        return outside_code(text, lambda part: _LINK.sub(lead, part))


def outside_code(text: str, change) -> str:
    """A page whose text, but not its code, was changed."""
    parts, end = [], 0
    for code in _CODE.finditer(text):
        parts += [change(text[end : code.start()]), code.group()]
        end = code.end()
    return "".join([*parts, change(text[end:])])


def _shown(text, path):
    """The page that shows a file which is none."""
    language = _LANGUAGES.get(pathlib.PurePosixPath(path).suffix, "text")
    body = text.rstrip("\n")
    return f"# `{path}`\n\n~~~~{language}\n{body}\n~~~~\n"
