"""Norms of embeddings: bounded, or one. Safe at zero and at large values."""

from keras import ops

#: Embeddings of a smaller norm count as zero.
_TINY = 1e-30


def clip_norm(z, mu):
    """Bounds the norm of each embedding by `sqrt(mu)`.

    Args:
        z: float tensor (B, d).
        mu: float, the squared bound, or None for no bound.

    Returns:
        Tensor (B, d): `z` where its norm is below `sqrt(mu)`, else
        `sqrt(mu) z / ||z||`. The comparison carries no gradient.

    Source: HaoChen et al. 2021, arXiv 2106.04156, the authors' code.
    """
    if mu is None:
        return z
    largest, unit = _largest_and_unit(z)
    # A zero row would be 0 / 0 in the branch that is not taken.
    inside = _norm(unit) * largest < mu**0.5
    return ops.where(inside, z, mu**0.5 * unit / _norm(unit))


def unit_norm(z):
    """Scales each embedding to norm one; zeros stay zeros.

    Args:
        z: float tensor (B, d).

    Returns:
        Tensor (B, d), `z / ||z||`. The gradient at a zero row is finite.
    """
    _, unit = _largest_and_unit(z)
    return unit / _norm(unit)


def embedding_std(z):
    """Spread of the directions of embeddings: 0 where all are the same.

    Args:
        z: float tensor (B, d).

    Returns:
        Scalar tensor in [0, 1], the root of the total variance of the
        embeddings scaled to norm one, `sqrt(mean ||u||^2 - ||mean u||^2)`.
        Below 0.1 or so the embeddings have collapsed; uniform directions
        give 1.

    Source: after Chen & He 2021, arXiv 2011.10566, figure 2, whose quantity
    is this one divided by `sqrt(d)`, up to the order of mean and root.
    """
    return spread(*direction_moments(z))


def direction_moments(z):
    """Mean squared norm and mean of `unit_norm(z)`: scalar, (d,)."""
    unit = unit_norm(z)
    squared = ops.mean(ops.sum(ops.square(unit), axis=-1))
    return squared, ops.mean(unit, axis=0)


def spread(squared, mean):
    """`embedding_std` from the moments of `direction_moments`."""
    variance = squared - ops.sum(ops.square(mean))
    return ops.sqrt(ops.maximum(variance, 0.0))


def _largest_and_unit(z):
    """The largest entry of each row, and the row divided by it."""
    # Divided before it is squared: squares of 1e20 overflow float32.
    largest = ops.stop_gradient(ops.max(ops.abs(z), axis=-1, keepdims=True))
    # Divided by one where it is zero, so that the gradient stays bounded.
    return largest, z / ops.where(largest > _TINY, largest, 1.0)


def _norm(unit):
    """Norm of each row, and one for a row of zeros."""
    squared = ops.sum(ops.square(unit), axis=-1, keepdims=True)
    # sqrt'(0) is infinite; a zero row must give a finite gradient, not NaN.
    return ops.sqrt(ops.where(squared > _TINY, squared, 1.0))
