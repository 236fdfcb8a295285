"""Which version of the library runs."""

import pathlib
import subprocess


def library_commit() -> str | None:
    """Return the commit of the checkout that runs; `None` for an installed one.

    Returns:
        12 hexadecimal digits, with `-dirty` behind them where files were
        changed since.
    """
    root = pathlib.Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None
