"""The global batch, when several replicas train: averages, and all rows.

The only part of `objectives` that knows TensorFlow. On other backends a batch
is already global (JAX arrays are sharded, not replicated), so nothing is
exchanged.
"""

import keras
from keras import ops


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


def index():
    """Number of this replica among those that train in step: 0, 1, ..."""
    context = _context()
    return 0 if context is None else context.replica_id_in_sync_group


def gather(tensor):
    """Rows of all replicas, in the order of the replicas.

    Args:
        tensor: tensor (b, ...), the rows of this replica. Local batches must
            be of equal size.

    Returns:
        Tensor (count() * b, ...). Differentiable: what another replica does
        with a row reaches its gradient here.
    """
    context = _context()
    return tensor if context is None else context.all_gather(tensor, axis=0)


def own_rows(local):
    """Where this replica's rows are in a gathered tensor.

    Args:
        local: int or scalar tensor, rows of this replica.

    Returns:
        int32 tensor (local,).
    """
    return ops.arange(local, dtype="int32") + index() * local
