"""The order of the tests."""


def pytest_collection_modifyitems(items):
    """Files with slow tests come first.

    Each file is given to one process: the longest one at the end would leave
    the others idle.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
