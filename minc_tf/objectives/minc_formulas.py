"""MINC's value and gradient, as functions of embeddings and of Lambda.

Embeddings `z1`, `z2` of two views have shape (B, d), the second moment Lambda
(d, d).
"""

from keras import ops


def second_moment(z1, z2, weights=None):
    """Second moment of both views: `C = E[phi phi^T]`.

    Args:
        z1: float tensor (B, d).
        z2: float tensor (B, d).
        weights: optional tensor (B, 1) of pair weights that sum to one.

    Returns:
        Tensor (d, d), `(z1^T z1 + z2^T z2) / (2B)` without weights.
    """
    if weights is None:
        weights = 1.0 / ops.cast(ops.shape(z1)[0], z1.dtype)
    total = ops.matmul(ops.transpose(z1), weights * z1)
    total = total + ops.matmul(ops.transpose(z2), weights * z2)
    return total / 2.0


def negative_objective(z1, z2, repulsion, weights=None):
    """Value of the loss, `-J = -2 E[z1.z2] + E[z^T Lambda z]`.

    Args:
        z1: float tensor (B, d).
        z2: float tensor (B, d).
        repulsion: scalar, `E[z^T Lambda z]` over both views.
        weights: optional tensor (B, 1) of pair weights that sum to one.

    Returns:
        Scalar tensor.

    Source: arXiv 2504.16667, eq. (5), averaged over both views.
    """
    pairs = ops.sum(z1 * z2, axis=-1, keepdims=True)
    attraction = (
        ops.mean(pairs) if weights is None else ops.sum(weights * pairs)
    )
    return repulsion - 2.0 * attraction


def surrogate(z1, z2, push1, push2, weights=None):
    """A function whose gradient is MINC's.

    `d/dz1 = (2/B) (-z2 + push1)` and the same with the views exchanged. Only
    the gradient means something: the value is not the objective.

    Args:
        z1: float tensor (B, d).
        z2: float tensor (B, d).
        push1: tensor (B, d), `z1 M^T` with the matrix M that repels: Lambda,
            or its lower triangle, diagonal included, for the generalised
            Hebbian form. It is held.
        push2: tensor (B, d), the same for `z2`.
        weights: optional tensor (B, 1) of pair weights that sum to one.

    Returns:
        Scalar tensor.
    """
    # Differentiating z^T M z through both z is another, wrong, fixed point.
    pushed = z1 * ops.stop_gradient(push1) + z2 * ops.stop_gradient(push2)
    pairs = 2.0 * ops.sum(pushed - z1 * z2, axis=-1, keepdims=True)
    return ops.mean(pairs) if weights is None else ops.sum(weights * pairs)


def own_push(rows, z, *, triangular):
    """Each image's own moment, applied to its embeddings: `c_i z`.

    Args:
        rows: tensor (B, v, d), the v embeddings of each image that make its
            moment `c_i = mean_a r_a r_a^T`.
        z: tensor (B, v, d), what it is applied to.
        triangular: bool, whether the lower triangle of `c_i` is meant.

    Returns:
        Tensor (B, v, d). No (d, d) matrix of an image is made.
    """
    views = rows.shape[1]
    if not triangular:
        products = ops.einsum("bad,bcd->bac", z, rows)
        return ops.einsum("bac,bcd->bad", products, rows) / views
    products = ops.cumsum(z[:, :, None, :] * rows[:, None, :, :], axis=-1)
    return ops.sum(products * rows[:, None, :, :], axis=2) / views


def moment_products(rows, others):
    """Inner products of each image's moments, `<c_i, c'_i>`.

    Args:
        rows: tensor (B, v, d), the embeddings that make `c_i`; see `own_push`.
        others: tensor (B, v, d), those that make `c'_i`.

    Returns:
        Tensor (B,).
    """
    products = ops.einsum("bad,bcd->bac", rows, others)
    return ops.mean(ops.square(products), axis=(1, 2))
