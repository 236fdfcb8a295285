"""Files and lines of each package, at one commit or at several.

    python benchmarks/structure.py 532dedd HEAD

Counts the Python files of `minc_tf`, `tests` and `recipes` as they are in git:
all lines, those of docstrings, those of `raise` statements, and code, which is
what is left without blank lines and comments. Prints a table in Markdown.
"""

import ast
import collections
import subprocess
import sys

from record import ROOT

ROOMS = ("minc_tf", "tests", "recipes")
COUNTED = ("files", "lines", "code", "docstring", "raise")


def main(commits: list[str]) -> None:
    """Print the table of some commits, side by side."""
    counts = [count(commit) for commit in commits]
    rooms = sorted(set().union(*counts))
    titles = [f"{name}, {commit}" for name in COUNTED for commit in commits]
    print("| package |" + "".join(f" {title} |" for title in titles))
    print("| --- |" + " ---: |" * len(titles))
    for room in rooms:
        numbers = [
            f" {each[room][name]:,} |" for name in COUNTED for each in counts
        ]
        print(f"| {room} |" + "".join(numbers))


def count(commit: str) -> dict[str, collections.Counter]:
    """The counts of each package at a commit, and of each room."""
    found = collections.defaultdict(collections.Counter)
    for path in git("ls-tree", "-r", "--name-only", commit).splitlines():
        room, *inner = path.split("/")
        if room not in ROOMS or not path.endswith(".py"):
            continue
        numbers = measure(git("show", f"{commit}:{path}"))
        found[room] += numbers
        if room == "minc_tf":
            found[f"minc_tf.{inner[0]}" if inner[1:] else "minc_tf, top"] += (
                numbers
            )
    return found


def measure(text: str) -> collections.Counter:
    """The counts of one file."""
    documented, raised = set(), set()
    for node in ast.walk(ast.parse(text)):
        lines = range(getattr(node, "lineno", 0), end_of(node) + 1)
        if isinstance(node, ast.Raise):
            raised.update(lines)
        elif isinstance(node, ast.Expr) and isinstance(
            getattr(node.value, "value", None), str
        ):
            documented.update(lines)
    lines = text.splitlines()
    code = [
        number
        for number, line in enumerate(lines, 1)
        if number not in documented
        and line.strip()
        and not line.strip().startswith("#")
    ]
    return collections.Counter(
        files=1,
        lines=len(lines),
        code=len(code),
        docstring=len(documented),
        **{"raise": len(raised)},
    )


def end_of(node: ast.AST) -> int:
    """The last line of a node that has lines."""
    return getattr(node, "end_lineno", None) or -1


def git(*arguments: str) -> str:
    """What a command of git prints."""
    return subprocess.run(
        ["git", *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


if __name__ == "__main__":
    main(sys.argv[1:] or ["HEAD"])
