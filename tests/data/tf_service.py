"""A `tf.data` service of one worker: plain TensorFlow, as one is started.

    python tf_service.py

Prints the address of its dispatcher, and ends with its standard input, so that
no process outlives a test that starts it.
"""

import sys

import tensorflow as tf


def main():
    """Start both servers and wait."""
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer()
    address = dispatcher.target.removeprefix("grpc://")
    worker = service.WorkerServer(
        service.WorkerConfig(dispatcher_address=address)
    )
    print(dispatcher.target, flush=True)
    sys.stdin.read()
    del worker, dispatcher


if __name__ == "__main__":
    main()
