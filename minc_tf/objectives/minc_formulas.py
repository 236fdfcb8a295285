"""MINC's value and gradient, as functions of embeddings and of Lambda.

Embeddings `z1`, `z2` of two views have shape (B, d), the second moment Lambda
(d, d); `weights` of pairs are None or (B, 1), and sum to one.
"""

from keras import ops


def second_moment(z1, z2, weights=None):
    """Second moment (d, d) of both views: `C = E[phi phi^T]`."""
    if weights is None:
        weights = 1.0 / ops.cast(ops.shape(z1)[0], z1.dtype)
    total = ops.matmul(ops.transpose(z1), weights * z1)
    total = total + ops.matmul(ops.transpose(z2), weights * z2)
    return total / 2.0


def negative_objective(z1, z2, repulsion, weights=None):
    """Value of the loss, `-J = -2 E[z1.z2] + E[z^T Lambda z]`.

    `repulsion` is the second term. arXiv 2504.16667, eq. (5), averaged over
    both views.
    """
    pairs = ops.sum(z1 * z2, axis=-1, keepdims=True)
    attraction = (
        ops.mean(pairs) if weights is None else ops.sum(weights * pairs)
    )
    return repulsion - 2.0 * attraction


def surrogate(z1, z2, push1, push2, weights=None):
    """A scalar whose gradient is MINC's; the value is not the objective.

    `d/dz1 = (2/B) (-z2 + push1)`, and likewise z2. `push1 = z1 M^T` is held,
    with M Lambda, or its lower triangle for the generalised Hebbian form.
    """
    # Differentiating z^T M z through both z is another, wrong, fixed point.
    pushed = z1 * ops.stop_gradient(push1) + z2 * ops.stop_gradient(push2)
    pairs = 2.0 * ops.sum(pushed - z1 * z2, axis=-1, keepdims=True)
    return ops.mean(pairs) if weights is None else ops.sum(weights * pairs)


def own_push(rows, z, *, triangular):
    """Each image's own moment, applied to its embeddings z (B, v, d): `c_i z`.

    `c_i = mean_a r_a r_a^T` is of its v rows (B, v, d); with `triangular` its
    lower triangle is meant. No (d, d) matrix of an image is made.
    """
    views = rows.shape[1]
    if not triangular:
        products = ops.einsum("bad,bcd->bac", z, rows)
        return ops.einsum("bac,bcd->bad", products, rows) / views
    products = ops.cumsum(z[:, :, None, :] * rows[:, None, :, :], axis=-1)
    return ops.sum(products * rows[:, None, :, :], axis=2) / views


def moment_products(rows, others):
    """Inner products (B,) of each image's own moments, `<c_i, c'_i>`."""
    products = ops.einsum("bad,bcd->bac", rows, others)
    return ops.mean(ops.square(products), axis=(1, 2))
