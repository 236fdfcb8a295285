"""Workers of a cluster wait for each other before TensorFlow starts.

TensorFlow itself waits for an hour, and does not say for whom.
"""

import contextlib
import errno
import socket
import time
from collections.abc import Sequence

_PAUSE_S = 0.2


def wait_for_workers(
    addresses: Sequence[str], index: int, timeout: float
) -> None:
    """Return when every worker listens at its address, `host:port`.

    Each opens its own port, where TensorFlow's server follows, and tries those
    of the others until all have answered once.
    """
    places = [_parse(address) for address in addresses]
    missing = dict(enumerate(addresses))
    del missing[index]
    deadline = time.monotonic() + timeout
    with _listen(addresses[index], places[index][1]):
        while missing:
            for other in list(missing):
                if _answers(places[other]):
                    del missing[other]
            if not missing:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"worker {index} waited {timeout:g} s for "
                    f"{len(missing)} of {len(addresses)} workers: nothing "
                    f"listens at {', '.join(missing.values())}; start them, "
                    "check the addresses, or raise "
                    "config.distribute.join_timeout."
                )
            time.sleep(_PAUSE_S)


@contextlib.contextmanager
def _listen(address, port):
    try:
        # The own address may be a name that only the others can resolve.
        listener = socket.create_server(("", port), backlog=1024)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(
            error.errno,
            f"this worker's address {address} is in use: another run, or the "
            "one before that has not ended yet",
        ) from error
    with listener:
        yield


def _answers(place):
    try:
        with socket.create_connection(place, timeout=2.0):
            return True
    except OSError:
        return False


def _parse(address):
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit():
        raise ValueError(
            f"a worker's address must be host:port; received {address!r}."
        )
    return host.strip("[]"), int(port)
