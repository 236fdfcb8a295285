"""How embeddings lie on the sphere: rank, alignment, uniformity."""

from keras import ops

from minc_tf._types import Tensor
from minc_tf.diagnostics.vectors import as_matrix
from minc_tf.objectives.norms import unit_norm


def rank_me(embeddings: Tensor) -> Tensor:
    """RankMe: the exponential of the entropy of the singular values.

    `exp(-sum_k p_k log p_k)`, `p_k = sigma_k / sum_j sigma_j` for the singular
    values of the (N, d) matrix, not centred. Its authors use it to choose
    settings without labels.

    Args:
        embeddings: float array or tensor (N, d), N at least d for a rank that
            can be d.

    Returns:
        Scalar float32 tensor from 1 to min(N, d); 0 where all are zero.

    Raises:
        ValueError: if the shape is not (N, d).

    Example:
    ```python
    import keras, minc_tf

    z = keras.random.normal((256, 16), seed=0)
    print(float(minc_tf.diagnostics.rank_me(z)))  # 15.8
    ```

    Source: Garrido et al. 2023, arXiv 2210.02885, eq. (1).
    """
    z = as_matrix("embeddings", embeddings)
    z = z / ops.maximum(ops.max(ops.abs(z)), 1e-30)
    sigma = ops.svd(z, full_matrices=False, compute_uv=False)
    total = ops.sum(sigma)
    share = sigma / ops.maximum(total, 1e-30)
    # The limit of p log p at zero is zero.
    entropy = -ops.sum(share * ops.log(ops.maximum(share, 1e-30)))
    return ops.where(total == 0.0, 0.0, ops.exp(entropy))


def alignment(z1: Tensor, z2: Tensor) -> Tensor:
    """Mean squared distance of the directions of two views of an image.

    Args:
        z1: float array or tensor (N, d).
        z2: float array or tensor (N, d), of the other views.

    Returns:
        Scalar float32 tensor in [0, 4]; 0 where the views are not told apart.

    Raises:
        ValueError: if the shapes are not (N, d) twice.

    Example:
    ```python
    import keras, minc_tf

    z = keras.random.normal((256, 16), seed=0)
    print(float(minc_tf.diagnostics.alignment(z, z)))  # 0.0
    ```

    Source: Wang & Isola 2020, arXiv 2005.10242, eq. (3), exponent 2.
    """
    one, other = as_matrix("z1", z1), as_matrix("z2", z2)
    if one.shape != other.shape:
        raise ValueError(
            "z1 and z2 must have the same shape; received "
            f"{tuple(one.shape)} and {tuple(other.shape)}."
        )
    difference = unit_norm(one) - unit_norm(other)
    return ops.mean(ops.sum(ops.square(difference), axis=-1))


def uniformity(embeddings: Tensor, temperature: float = 2.0) -> Tensor:
    """How evenly directions are spread: the smaller, the more.

    The logarithm of the mean of `exp(-t ||u_i - u_j||^2)` over the pairs of
    different embeddings, u of norm one.

    Args:
        embeddings: float array or tensor (N, d), N of two or more; an (N, N)
            matrix is made.
        temperature: float, t, positive.

    Returns:
        Scalar float32 tensor in [-4 t, 0]; 0 where all directions are the
        same, about -2 t for uniform ones in many dimensions.

    Raises:
        ValueError: if the shape is not (N, d), or `temperature` not positive.

    Example:
    ```python
    import keras, minc_tf

    z = keras.random.normal((256, 128), seed=0)
    print(float(minc_tf.diagnostics.uniformity(z)))  # -3.9
    ```

    Source: Wang & Isola 2020, arXiv 2005.10242, eq. (4).
    """
    unit = unit_norm(as_matrix("embeddings", embeddings))
    count = unit.shape[0]
    if count < 2:
        raise ValueError(f"at least 2 embeddings are needed; received {count}.")
    if not temperature > 0.0:
        raise ValueError(
            f"temperature must be positive; received {temperature}."
        )
    squares = ops.sum(ops.square(unit), axis=-1)  # one, or zero
    distances = squares + squares[:, None]
    distances = distances - 2.0 * ops.matmul(unit, ops.transpose(unit))
    # Pairs of an embedding with itself are left out.
    exponents = -temperature * distances - 1e30 * ops.eye(count)
    return ops.logsumexp(exponents) - ops.log(count * (count - 1.0))
