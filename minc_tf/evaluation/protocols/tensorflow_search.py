"""The search of nearest neighbours on TensorFlow."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from minc_tf.evaluation.protocols.float32 import full_float32


def nearest_rows(train: np.ndarray, count: int) -> Callable:
    """Makes a function that finds the rows with the largest products.

    Args:
        train: float32 array (N, D).
        count: int, at most N.

    Returns:
        Function from a float32 array (M, D) to `(products, rows)`, NumPy
        arrays (M, count), the largest product first.
    """
    train = tf.constant(train)

    def search(queries):
        with full_float32():
            similarity = tf.matmul(queries, train, transpose_b=True)
        nearest = tf.math.top_k(similarity, count)
        return nearest.values.numpy(), nearest.indices.numpy()

    return search
