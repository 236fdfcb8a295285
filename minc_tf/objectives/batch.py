"""The samples of the global batch: weighted, centred, each with all others."""

from keras import ops

from minc_tf.objectives import replicas

#: Exponent of what a mask leaves out: finite, or an empty row would have the
#: gradient 0 * inf.
_LEFT_OUT = -1e30


def normalise_weights(sample_weight):
    """Weights of pairs whose mean over the replicas of the sum is one.

    In float32 (B,): a weighted sum here is this replica's part of the mean over
    the global batch.
    """
    if sample_weight is None:
        return None
    weights = ops.cast(sample_weight, "float32")
    total = replicas.mean(ops.sum(weights))
    # All of them can be padding, of weight zero.
    return weights / ops.where(total > 0.0, total, 1.0)


def centre(z):
    """Subtracts from each dimension its mean over the global batch."""
    return z - replicas.mean(ops.mean(z, axis=0))


def products_of_samples(z1, z2):
    """Inner products of this replica's samples with those of all replicas.

    Rows 2i and 2i + 1 are the views of pair i of the b here, columns 2j and
    2j + 1 of pair j of all B. Returns `z1_i.z2_i` (b,), every product (2b, 2B),
    and a bool (2b, 2B), true where the two samples are of different pairs.
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
    """Log-sum-exp of the values in a mask; -1e30 or so where that is empty."""
    # A large number subtracted from the values would cost them their digits.
    return ops.logsumexp(ops.where(mask, values, _LEFT_OUT), axis=axis)
