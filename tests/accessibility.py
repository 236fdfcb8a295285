"""What axe-core finds in a page that a browser shows."""

import pathlib
import sys

import pytest

#: Where `make axe` puts it.
AXE = pathlib.Path(sys.prefix, "axe-core", "axe.min.js")


def serious_faults(browser) -> list[tuple]:
    """Faults of the page: rule, the first element, how many there are."""
    if not AXE.exists():
        pytest.skip("needs axe-core: make axe")
    browser.execute_script(AXE.read_text())
    found = browser.execute_async_script(
        "axe.run({resultTypes: ['violations']})"
        ".then(arguments[arguments.length - 1])"
    )
    assert found["passes"]
    return [
        (fault["id"], fault["nodes"][0]["html"][:200], len(fault["nodes"]))
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
