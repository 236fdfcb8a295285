"""Matrix products on TensorFlow, in full float32 on every device.

NumPy's BLAS spins while it waits for a core: on a machine that is busy, or a
container with a CPU quota, small products take twenty times longer. TensorFlow
does not, and uses a GPU where there is one.
"""

import contextlib

import numpy as np
import tensorflow as tf


@contextlib.contextmanager
def full_float32():
    """Multiply in float32 where a GPU would take TensorFloat-32.

    Its ten bits are too few for a line search, and change neighbours by device.
    """
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)


def matmul(a, b, *, transpose_a: bool = False) -> np.ndarray:
    """Multiply two matrices of one dtype; return a NumPy array."""
    with full_float32():
        return tf.matmul(a, b, transpose_a=transpose_a).numpy()


def eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues (D,), ascending, none below 0, and axes as columns."""
    spectrum, axes = tf.linalg.eigh(matrix.astype("float64"))
    spectrum = np.maximum(spectrum.numpy(), 0)
    return spectrum.astype(matrix.dtype), axes.numpy().astype(matrix.dtype)
