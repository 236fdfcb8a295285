"""Docstrings as the site shows them."""

import re

import griffe

#: Lines of a session of Python, which Markdown would take for quotations.
_SESSION = re.compile(r"^( *)>>> .*\n(?:\1(?!```).*\S.*\n?)*", re.M)


class FencedExamples(griffe.Extension):
    """Puts a fence around examples that are written as sessions."""

    def on_instance(self, *, obj: griffe.Object, **kwargs) -> None:
        """Changes the docstring of one object."""
        if obj.docstring is None or ">>> " not in obj.docstring.value:
            return
        obj.docstring.value = _SESSION.sub(_fence, obj.docstring.value + "\n")


def _fence(match):
    indent = match[1]
    body = match[0].rstrip("\n")
    return f"{indent}```pycon\n{body}\n{indent}```\n"
