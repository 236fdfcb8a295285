"""Builds the site of the docs into site/; `make docs` calls it.

First its sources, in build/docs: the pages of the repository, with links that
lead to one another there, and the reference. Then the site. It stops at a link
to nothing, and at a docstring that cannot be read as one.
"""

import shutil
import subprocess
import sys

import check
import links
import notebooks
import reference

SOURCES = links.ROOT / "build" / "docs"
SITE = links.ROOT / "site"
#: Pages that nothing need link to, beside the chapters.
STARTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


def write_sources() -> None:
    """Writes the sources of all pages anew."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    made = {
        f"docs/notebooks/{name}.py": notebooks.page(name)
        for name in notebooks.names()
    }
    site = links.Site(links.ROOT, SOURCES, made)
    chapters = sorted((links.ROOT / "docs").glob("*.md"))
    named = (f"docs/{chapter.name}" for chapter in chapters)
    for path in (*STARTS, *named, *made):
        site.add(path)
    site.write("extra.css", (links.ROOT / "docs/tools/extra.css").read_text())
    for place, text in reference.pages(links.ROOT).items():
        site.write(place, text)


def main() -> None:
    """Builds the site; exits with what is wrong with it."""
    write_sources()
    shutil.rmtree(SITE, ignore_errors=True)
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=links.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    # Not counted by --strict.
    misread = [line for line in built.stdout.splitlines() if "griffe:" in line]
    if built.returncode or misread:
        sys.exit("\n".join(misread) or built.stdout)
    broken = check.broken_links(SITE)
    if broken:
        sys.exit("\n".join(["links to nothing:", *broken[:20]]))
    print(f"built {len(list(SITE.rglob('*.html')))} pages: {SITE}/index.html")


if __name__ == "__main__":
    main()
