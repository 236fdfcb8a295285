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

    TF32 keeps ten bits: too few for a line search, and enough to change
    neighbours between devices.

    Example:
    ```python
    with full_float32():
        similarity = tf.matmul(queries, train, transpose_b=True)
    ```
    """
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)


def matmul(a, b, *, transpose_a: bool = False) -> np.ndarray:
    """Multiply two matrices.

    Args:
        a: float array or tensor (N, K), or (K, N) if transposed.
        b: float array or tensor (K, M), of the same dtype.
        transpose_a: bool.

    Returns:
        NumPy array (N, M).

    Example:
    ```python
    covariance = matmul(x, x, transpose_a=True) / len(x)
    ```
    """
    with full_float32():
        return tf.matmul(a, b, transpose_a=transpose_a).numpy()


def eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decompose a covariance matrix, in double precision.

    Args:
        matrix: float array (D, D), symmetric, positive semidefinite.

    Returns:
        Tuple of the eigenvalues (D,), ascending, none below 0, and the
        eigenvectors as columns (D, D), in the dtype of `matrix`.

    Example:
    ```python
    spectrum, axes = eigh(covariance)
    ```
    """
    spectrum, axes = tf.linalg.eigh(matrix.astype("float64"))
    spectrum = np.maximum(spectrum.numpy(), 0)
    return spectrum.astype(matrix.dtype), axes.numpy().astype(matrix.dtype)
