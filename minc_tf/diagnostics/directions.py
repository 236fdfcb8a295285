"""Embeddings as matrices, and their directions."""

from keras import ops


def as_matrix(name: str, array):
    """Return embeddings as a float32 tensor, or raise a clear error.

    Args:
        name: string, what the argument is called.
        array: float array or tensor (N, d).

    Returns:
        float32 tensor (N, d).

    Raises:
        ValueError: if the shape is not (N, d), or there is nothing in it.

    Example:
    ```python
    as_matrix("embeddings", [[1.0, 2.0]]).shape  # (1, 2)
    ```
    """
    array = ops.cast(ops.convert_to_tensor(array), "float32")
    if len(array.shape) != 2 or 0 in tuple(array.shape):
        raise ValueError(
            f"{name} must have shape (N, d); received {tuple(array.shape)}."
        )
    return array


def directions(z):
    """Scale embeddings to norm one; zeros stay zeros.

    Args:
        z: float32 tensor (N, d), of any scale.

    Returns:
        float32 tensor (N, d).

    Example:
    ```python
    directions(as_matrix("z", [[3.0, 4.0]]))  # [[0.6, 0.8]]
    ```
    """
    z = z / ops.maximum(ops.max(ops.abs(z), axis=-1, keepdims=True), 1e-30)
    norm = ops.sqrt(ops.sum(ops.square(z), axis=-1, keepdims=True))
    return z / ops.maximum(norm, 1e-30)
