"""Views that other machines make, by the service of `tf.data`.

A service is a dispatcher and its worker: processes of plain TensorFlow that
are sent a graph and send back what it makes.
"""

import functools
import itertools
import socket
import threading
import urllib.parse
from collections.abc import Callable, Sequence

import tensorflow as tf

# TensorFlow itself would try for an hour, without a word.
from minc_tf._checks import refusal

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


def parse_services(service: str | Sequence[str]) -> list[str]:
    """Return the addresses of services, `grpc://host:port`, one by one."""
    addresses = service
    if isinstance(service, str):
        addresses = [address.strip() for address in service.split(",")]
    try:
        addresses = list(addresses)
        whole = bool(addresses) and all(map(_host_and_port, addresses))
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise refusal(
            "service",
            "an address 'grpc://host:port', or several with commas between "
            "them",
            service,
        )
    return list(addresses)


def _host_and_port(address):
    """Split an address, which is false or an error where it is none."""
    if not isinstance(address, str):
        raise TypeError(address)
    parts = urllib.parse.urlsplit(address)
    whole = parts.scheme == "grpc" and parts.hostname and parts.port
    # Nothing but host and port.
    rest = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    return whole and not rest and (parts.hostname, parts.port)


def check_services(
    addresses: Sequence[str],
    connect_seconds: float = _CONNECT_SECONDS,
    answer_seconds: float = _ANSWER_SECONDS,
) -> None:
    """Raise unless there is a service with one worker at each address."""
    for address in addresses:
        try:
            place = _host_and_port(address)
            socket.create_connection(place, connect_seconds).close()
        except OSError as error:
            raise ValueError(
                f"service {address!r} must be a running dispatcher of "
                f"tf.data; it cannot be reached ({error})"
            ) from error
    for address, found in _workers(addresses, answer_seconds).items():
        if isinstance(found, tf.errors.OpError):
            reason = str(found.message).partition("\n")[0]
            raise ValueError(
                f"service {address!r} must be a dispatcher of tf.data of "
                f"TensorFlow {tf.__version__}; it answered: {reason}"
            ) from found
        if found is None:
            raise ValueError(
                f"service {address!r} must have a worker; none has answered "
                f"within {answer_seconds:g} seconds: start one, with a "
                "worker_address that can be reached from here"
            )
        if found != 1:
            raise ValueError(
                f"service {address!r} must have one worker; it has {found}, "
                "each of which would make every batch: start a dispatcher "
                "for each worker and list all their addresses"
            )


def _workers(addresses, seconds):
    """Return the number of workers of each service, or an error, or None."""
    found = dict.fromkeys(addresses)

    # Every worker makes the whole of a data set.
    def ask(address):
        try:
            one = _made_by(address, tf.data.Dataset.range(1))
            found[address] = int(one.reduce(0, lambda count, _: count + 1))
        except tf.errors.OpError as error:
            found[address] = error

    # Threads that get no answer cannot be ended, and must not be waited for.
    threads = [
        threading.Thread(target=ask, args=[address], daemon=True)
        for address in found
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    return dict(found)


def _made_by(address, dataset):
    service = tf.data.experimental.service
    # Compressed, views are a fifth smaller, and twice the work to receive.
    return dataset.apply(
        service.distribute(
            service.ShardingPolicy.OFF, address, compression=None
        )
    )


def only_graph_code(function: Callable) -> Callable:
    """Wrap a function to raise `ValueError` if its graph calls Python."""

    @functools.wraps(function)
    def checked(*inputs):
        outputs = function(*inputs)
        graph = tf.compat.v1.get_default_graph().as_graph_def()
        inner = (f.node_def for f in graph.library.function)
        nodes = itertools.chain(graph.node, *inner)
        found = _PYTHON_OPS.intersection(node.op for node in nodes)
        if found:
            raise ValueError(
                "views must be TensorFlow graph code to be made by a service; "
                f"received a function that calls Python ({min(found)}), as "
                "tf.numpy_function does"
            )
        return outputs

    return checked


def from_services(
    make: Callable[[tf.data.Dataset], tf.data.Dataset],
    addresses: Sequence[str],
    start_step: int,
) -> tf.data.Dataset:
    """Return an endless stream, `make` of all steps, made by services in turn.

    `make` is portable graph code from a data set of steps to tuples of tensors.
    A worker that is started again, or a second one at an address, begins from
    the first step: then the stream ends with an error.
    """

    def part(which, address):
        steps = tf.data.Dataset.counter(start_step + which, len(addresses))
        numbered = tf.data.Dataset.zip(steps, make(steps))
        shapes = [view.shape for view in numbered.element_spec[1]]

        def check(due, made):
            step, views = made
            complaint = tf.strings.join(
                [
                    f"service {address} has sent step ",
                    tf.strings.as_string(step),
                    " where step ",
                    tf.strings.as_string(due),
                    " was due: its worker was started again or has got a "
                    "second one beside it; let the run go on from its "
                    "checkpoint",
                ]
            )
            same = tf.debugging.Assert(step == due, [complaint])
            with tf.control_dependencies([same]):
                return tuple(
                    tf.ensure_shape(view, shape)
                    for view, shape in zip(views, shapes, strict=True)
                )

        made = _made_by(address, numbered)
        return tf.data.Dataset.zip(steps, made).map(check)

    parts = [part(*pair) for pair in enumerate(addresses)]
    turns = tf.data.Dataset.range(len(parts)).repeat()
    return tf.data.Dataset.choose_from_datasets(parts, turns)
