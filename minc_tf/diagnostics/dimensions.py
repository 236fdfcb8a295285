"""Embeddings dimension by dimension: spectrum and spread."""

from keras import ops

from minc_tf._types import Tensor
from minc_tf.diagnostics.vectors import as_matrix
from minc_tf.objectives.norms import unit_norm


def spectrum(embeddings: Tensor) -> Tensor:
    """Eigenvalues of the second moment of embeddings, largest first.

    Of `E[z z^T]`, not centred. At the optimum of MINC and of the spectral
    contrastive loss they are the leading eigenvalues of the graph of views,
    the constant function's 1 first; then `MINC.eigenvalues()` are the same,
    from training. A steep fall after a few means that few directions are
    used.

    Args:
        embeddings: float array or tensor (N, d).

    Returns:
        float32 tensor (d,), not negative; zeros where d exceeds N.

    Raises:
        ValueError: if the shape is not (N, d).

    Example:
    ```python
    import keras, minc_tf

    z = keras.random.normal((256, 16), seed=0)
    print(minc_tf.diagnostics.spectrum(z))  # around 1
    ```
    """
    z = as_matrix("embeddings", embeddings)
    moment = ops.matmul(ops.transpose(z), z / z.shape[0])
    # Rounding can make those that are zero slightly negative.
    return ops.maximum(ops.flip(ops.linalg.eigh(moment)[0]), 0.0)


def dimension_std(embeddings: Tensor) -> Tensor:
    """Standard deviation of each dimension of the directions of embeddings.

    Of the embeddings scaled to norm `sqrt(d)`: one in every dimension where
    directions are uniform, zero in a dimension that tells no images apart.

    Args:
        embeddings: float array or tensor (N, d).

    Returns:
        float32 tensor (d,).

    Raises:
        ValueError: if the shape is not (N, d).

    Example:
    ```python
    import keras, minc_tf

    z = keras.random.normal((256, 16), seed=0)
    print(minc_tf.diagnostics.dimension_std(z))  # around 1
    ```

    Source: Chen & He 2021, arXiv 2011.10566, figure 2, times `sqrt(d)`.
    """
    unit = unit_norm(as_matrix("embeddings", embeddings))
    return ops.std(unit.shape[1] ** 0.5 * unit, axis=0)
