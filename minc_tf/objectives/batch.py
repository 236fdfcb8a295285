"""The samples of the global batch: weighted, centred, each with all others."""

from keras import ops

from minc_tf.objectives import replicas

#: Exponent of what a mask leaves out: finite, or an empty row would have the
#: gradient 0 * inf.
_LEFT_OUT = -1e30


def normalise_weights(sample_weight):
    """Weights of pairs whose mean over the replicas of the sum is one.

    Args:
        sample_weight: tensor (B,), or None.

    Returns:
        float32 tensor (B,), so that a weighted sum here is this replica's
        part of the mean over the global batch; None for None.
    """
    if sample_weight is None:
        return None
    weights = ops.cast(sample_weight, "float32")
    total = replicas.mean(ops.sum(weights))
    # All of them can be padding, of weight zero.
    return weights / ops.where(total > 0.0, total, 1.0)


def centre(z):
    """Subtracts the mean over the global batch from each dimension.

    Args:
        z: float tensor (B, d).

    Returns:
        Tensor (B, d).
    """
    return z - replicas.mean(ops.mean(z, axis=0))


def products_of_samples(z1, z2):
    """Inner products of this replica's samples with those of all replicas.

    The two views of a pair follow each other: rows 2i and 2i + 1 are pair i
    of the b pairs here, columns 2j and 2j + 1 pair j of all B.

    Args:
        z1: float tensor (b, d).
        z2: float tensor (b, d).

    Returns:
        A tuple `(positives, products, negatives)`: (b,), `z1_i.z2_i`;
        (2b, 2B), every product; and a bool tensor (2b, 2B), true where the
        two samples are of different pairs.
    """
    both = ops.stack([z1, z2], axis=1)
    samples = ops.reshape(both, (-1, ops.shape(z1)[1]))
    others = replicas.gather(samples)
    products = ops.matmul(samples, ops.transpose(others))
    pair_of_row = replicas.own_rows(ops.shape(samples)[0]) // 2
    pair_of_column = ops.arange(ops.shape(others)[0], dtype="int32") // 2
    negatives = pair_of_row[:, None] != pair_of_column[None, :]
    return ops.sum(z1 * z2, axis=-1), products, negatives


def masked_logsumexp(values, mask, axis=None):
    """Logarithm of the sum of the exponentials of the values in a mask.

    Args:
        values: float tensor.
        mask: bool tensor of the same shape.
        axis: int, or None for all axes.

    Returns:
        Tensor without `axis`; -1e30 or so where the mask is empty.
    """
    # A large number subtracted from the values would cost them their digits.
    return ops.logsumexp(ops.where(mask, values, _LEFT_OUT), axis=axis)
