"""The order of the tests, their garbage, and what they send."""

import gc
import os

import pytest


def pytest_collection_modifyitems(items):
    """Files with slow tests come first.

    Each file is given to one process: the longest one at the end would leave
    the others idle.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_configure():
    """Collections are rarer: tracing makes objects by the hundred thousand.

    And OpenVINO's converter is told that nobody uses it: it would fork a large
    process for each of its statistics, and send them.
    """
    gc.set_threshold(50_000, 10, 10)
    os.environ["CI"] = "true"


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """What a file leaves behind is not looked through again and again.

    TensorFlow and its graphs are millions of objects, which every collection
    of the oldest garbage would visit.
    """
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
