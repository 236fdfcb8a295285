"""A process of the `tf.data` service: plain TensorFlow, as one is started.

    python tf_service.py dispatcher
    python tf_service.py worker HOST:PORT

Prints the address of what it has started, and ends with its standard input,
so that no process outlives a test that starts it.
"""

import sys

import tensorflow as tf


def main(kind, dispatcher=None):
    """Start a server and wait."""
    service = tf.data.experimental.service
    if kind == "dispatcher":
        server = service.DispatchServer()
        print(server.target, flush=True)
    else:
        server = service.WorkerServer(
            service.WorkerConfig(dispatcher_address=dispatcher)
        )
        print("grpc://worker", flush=True)
    sys.stdin.read()
    del server


if __name__ == "__main__":
    main(*sys.argv[1:])
