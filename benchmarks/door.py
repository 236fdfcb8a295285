"""The way by which TensorFlow Serving feeds a graph: without any check."""

import functools

import numpy as np


class Door:
    """A SavedModel in a session, fed as TensorFlow Serving does.

    A signature that Python calls refuses a tensor of another shape, and so does
    `session.run`. The server does neither: the graph sees what was sent.

    Args:
        path: str, a version folder.

    Example:
    ```python
    door = Door("savedmodels/shapes/1")
    door("serve_images", np.zeros((1, 40, 30, 3), np.uint8))["features"]
    ```
    """

    def __init__(self, path: str):
        import tensorflow as tf

        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            found = tf.compat.v1.saved_model.load(
                self._session, ["serve"], str(path)
            )
        self.signatures = {
            name: signature
            for name, signature in found.signature_def.items()
            if signature.inputs
        }

    def __call__(self, name: str, tensor: np.ndarray) -> dict[str, np.ndarray]:
        """Run a signature of one input on whatever it is given."""
        names, call = self._callable(name)
        return dict(zip(names, call(tensor), strict=True))

    def spec(self, name: str) -> tuple[np.dtype, tuple[int | None, ...]]:
        """The type and shape of the input of a signature."""
        import tensorflow as tf

        (given,) = self.signatures[name].inputs.values()
        sizes = (axis.size for axis in given.tensor_shape.dim)
        shape = tuple(None if size < 0 else size for size in sizes)
        return np.dtype(tf.as_dtype(given.dtype).as_numpy_dtype), shape

    @functools.cache  # noqa: B019
    def _callable(self, name):
        from tensorflow.core.protobuf import config_pb2

        signature = self.signatures[name]
        options = config_pb2.CallableOptions()
        options.feed.extend(v.name for v in signature.inputs.values())
        outputs = sorted(signature.outputs.items())
        options.fetch.extend(value.name for _, value in outputs)
        call = self._session._make_callable_from_options(options)
        return [output for output, _ in outputs], call
