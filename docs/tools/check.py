"""Whether each link of the built site leads somewhere."""

import html.parser
import pathlib
import posixpath
import urllib.parse


class _Page(html.parser.HTMLParser):
    """The anchors of a page, and where its links and files are."""

    def __init__(self):
        super().__init__()
        self.anchors = set()
        self.links = set()

    def handle_starttag(self, tag, attrs):
        """Keeps `id`, `href` and `src` of an element."""
        found = dict(attrs)
        self.anchors.add(found.get("id") or found.get("name"))
        # The page of errors is served at any address.
        link = found.get("href") or found.get("src")
        if link and found.get("rel") != "canonical":
            self.links.add(link)


def broken_links(site: pathlib.Path) -> list[str]:
    """Links to a page, file or anchor that the site does not have.

    Args:
        site: folder of the built site.

    Returns:
        List of strings, `"page: link"`.
    """
    pages = {}
    for path in site.rglob("*.html"):
        page = pages[path.relative_to(site).as_posix()] = _Page()
        page.feed(path.read_text(encoding="utf-8"))
    broken = []
    for name, page in pages.items():
        if name == "404.html":
            continue
        for link in sorted(page.links):
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = name
            if parts.path:
                folder = posixpath.dirname(name)
                path = urllib.parse.unquote(parts.path)
                target = posixpath.normpath(posixpath.join(folder, path))
                if (site / target).is_dir():
                    target = posixpath.normpath(f"{target}/index.html")
            anchor = urllib.parse.unquote(parts.fragment)
            anchors = pages[target].anchors if target in pages else {anchor}
            exists = (site / target).is_file()
            if not exists or (anchor and anchor not in anchors):
                broken.append(f"{name}: {link}")
    return broken
