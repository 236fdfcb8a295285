"""A process that feeds exports as a server does; prints what came of it.

It needs no minc_tf.

    python feeding.py <folder of door.py> <file of cases>

The file is JSON: a list of (path, requests), those a list of (signature, kind,
what). Of kind `files` that is a list of paths, of kind `shape` the shape of a
tensor of ones of the signature's type, or of empty texts. After each request a
line of JSON is printed, and flushed: the last one tells what ended the process.
"""

import json
import pathlib
import sys

import numpy as np


def tensor(dtype, kind, what, file):
    """The tensor of a request."""
    if kind == "files":
        contents = [pathlib.Path(path).read_bytes() for path in what]
        return np.array(contents, object)
    if kind == "array":
        return np.load(what).astype(dtype)
    if dtype.hasobject:
        return np.full(what, file, object)
    return np.ones(what, dtype)


def main():
    folder, cases = sys.argv[1:]
    sys.path.insert(0, folder)
    import door
    import tensorflow as tf

    file = tf.io.encode_png(np.ones((5, 7, 3), np.uint8)).numpy()
    exports = json.loads(pathlib.Path(cases).read_text())
    doors = [door.Door(path) for path, _ in exports]
    print("loaded", file=sys.stderr, flush=True)
    for opened, (_, requests) in zip(doors, exports, strict=True):
        for signature, kind, what in requests:
            dtype, _ = opened.spec(signature)
            sent = tensor(dtype, kind, what, file)
            try:
                found = opened(signature, sent)
                answer = {name: v.tolist() for name, v in found.items()}
            except tf.errors.OpError as error:
                answer = [type(error).__name__, error.message]
            print(json.dumps(answer), flush=True)
    assert "minc_tf" not in sys.modules


if __name__ == "__main__":
    main()
