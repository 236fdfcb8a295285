"""Whether embeddings still tell images apart."""

from keras import ops

from minc_tf._types import Tensor
from minc_tf.diagnostics.vectors import as_matrix
from minc_tf.objectives.norms import unit_norm


def embedding_std(embeddings: Tensor) -> Tensor:
    """Spread of the directions of embeddings: 0 where all are the same.

    Args:
        embeddings: float array or tensor (N, d).

    Returns:
        Scalar float32 tensor in [0, 1]: the root of the total variance of the
        embeddings u scaled to norm one, `sqrt(mean ||u - mean u||^2)`. Uniform
        directions give 1.

    Raises:
        ValueError: if the shape is not (N, d).

    Example:
    ```python
    import keras, minc_tf

    z = keras.random.normal((256, 16), seed=0)
    print(float(minc_tf.diagnostics.embedding_std(z)))  # 1.0
    ```

    Source: after Chen & He 2021, arXiv 2011.10566, figure 2, whose quantity
    is this one divided by `sqrt(d)`, up to the order of mean and root.
    """
    centred = _centred_directions(embeddings)
    return ops.sqrt(ops.mean(ops.sum(ops.square(centred), axis=-1)))


def effective_rank(embeddings: Tensor) -> Tensor:
    """Number of directions in which embeddings vary.

    `tr(C)^2 / ||C||_F^2`, C the covariance of the embeddings scaled to norm
    one: the number of equal eigenvalues of the same spread.

    Args:
        embeddings: float array or tensor (N, d).

    Returns:
        Scalar float32 tensor from 1 to min(N - 1, d), or 0 where the
        embeddings do not vary at all.

    Raises:
        ValueError: if the shape is not (N, d).

    Example:
    ```python
    import keras, minc_tf

    z = keras.random.normal((256, 16), seed=0)
    print(float(minc_tf.diagnostics.effective_rank(z)))  # 15.1
    ```
    """
    centred = _centred_directions(embeddings)
    total = ops.sum(ops.square(centred))
    smaller = centred.shape[0] < centred.shape[1]
    left, right = (centred, ops.transpose(centred))
    product = ops.matmul(left, right) if smaller else ops.matmul(right, left)
    squares = ops.sum(ops.square(product))
    # Directions are rounded: a spread below 1e-6 is none.
    same = total <= 1e-12 * centred.shape[0]
    rank = ops.square(total) / ops.where(same, 1.0, squares)
    return ops.where(same, 0.0, rank)


def _centred_directions(embeddings):
    """Embeddings of norm one, minus their mean; zeros stay zeros."""
    unit = unit_norm(as_matrix("embeddings", embeddings))
    centred = unit - ops.mean(unit, axis=0, keepdims=True)
    # Of thousands of equal rows the first mean is off by more than they vary.
    return centred - ops.mean(centred, axis=0, keepdims=True)
