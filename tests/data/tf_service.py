"""`tf.data` services of one worker each: plain TensorFlow, as one is started.

    python tf_service.py 2

Prints the addresses of that many dispatchers, and ends with its standard input,
so that no process outlives a test that starts it.
"""

import sys

import tensorflow as tf


def main(count):
    """Start the servers and wait."""
    service = tf.data.experimental.service
    servers = []
    for _ in range(int(count)):
        dispatcher = service.DispatchServer()
        address = dispatcher.target.removeprefix("grpc://")
        config = service.WorkerConfig(dispatcher_address=address)
        servers += [dispatcher, service.WorkerServer(config)]
        print(dispatcher.target, flush=True)
    sys.stdin.read()
    del servers


if __name__ == "__main__":
    main(*sys.argv[1:])
