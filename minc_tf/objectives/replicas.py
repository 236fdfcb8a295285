"""Averages over the global batch when several replicas train.

The only part of `objectives` that knows TensorFlow. On other backends a batch
is already global (JAX arrays are sharded, not replicated), so nothing is
exchanged.
"""

import keras


def _context():
    """The tf.distribute replica context with more than one replica, or None."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context


def count() -> int:
    """Number of replicas that train in step (1 outside tf.distribute)."""
    context = _context()
    return 1 if context is None else context.num_replicas_in_sync


def mean(tensors):
    """Averages tensors over the replicas.

    Args:
        tensors: a tensor or a nest of tensors, of the same shapes on every
            replica. Local batches must be of equal size, or means of them
            are not means over the global batch.

    Returns:
        The same nest, averaged. Differentiable: the gradient of a sum over
        replicas is itself summed over them.
    """
    context = _context()
    if context is None:
        return tensors
    import tensorflow as tf

    return context.all_reduce(tf.distribute.ReduceOp.MEAN, tensors)
