"""The global batch, when several replicas train: averages, and all rows.

The only part of `objectives` that knows TensorFlow. On other backends a batch
is already global (JAX arrays are sharded, not replicated), so nothing is
exchanged. Everything exchanged passes `mean` or `gather`, and is `counted`.
"""

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Iterator

import keras
from keras import ops, tree


@dataclasses.dataclass
class Exchange:
    """How many numbers so many replicas sum, and have in what they gather."""

    replicas: int
    reduced: int = 0
    gathered: int = 0


_COUNTED: contextvars.ContextVar[Exchange | None] = contextvars.ContextVar(
    "counted", default=None
)


@contextlib.contextmanager
def counted(replicas: int) -> Iterator[Exchange]:
    """Counts what so many replicas would exchange, and exchanges nothing.

    Of what is traced inside, where values have no meaning. A gradient that
    comes back through a collective is another.
    """
    exchange = Exchange(replicas)
    token = _COUNTED.set(exchange)
    try:
        yield exchange
    finally:
        _COUNTED.reset(token)


def _pass(tensors, count, count_gradient):
    """The tensors, unchanged, as what a collective of them would give.

    Calls `count` where they pass, `count_gradient` where a gradient comes back.
    """

    def forward(*tensors):
        count()
        return tuple(ops.multiply(each, 1) for each in tensors)

    if keras.backend.backend() == "jax":
        import jax

        door = jax.custom_vjp(forward)

        def backward(_, upstream):
            count_gradient()
            return upstream

        door.defvjp(lambda *tensors: (forward(*tensors), None), backward)
        return door(*tensors)

    def with_gradient(*tensors):
        def backward(*upstream):
            count_gradient()
            return upstream

        return forward(*tensors), backward

    return ops.custom_gradient(with_gradient)(*tensors)


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
    exchange = _COUNTED.get()
    if exchange is not None:
        return exchange.replicas
    context = _context()
    return 1 if context is None else context.num_replicas_in_sync


def mean(tensors):
    """Averages a nest of tensors, of the same shapes everywhere, over replicas.

    Local batches must be of equal size, or means of them are not the global
    mean. The gradient of a sum over replicas is itself summed over them.
    """
    exchange = _COUNTED.get()
    if exchange is not None:
        return _count_mean(exchange, tensors)
    context = _context()
    if context is None:
        return tensors
    import tensorflow as tf

    return context.all_reduce(tf.distribute.ReduceOp.MEAN, tensors)


def index():
    """Number of this replica among those that train in step: 0, 1, ..."""
    context = None if _COUNTED.get() is not None else _context()
    return 0 if context is None else context.replica_id_in_sync_group


def gather(tensor):
    """Rows of all replicas, in their order: (b, ...) to (count() * b, ...).

    Local batches must be of equal size. Differentiable: what another replica
    does with a row reaches its gradient here.
    """
    exchange = _COUNTED.get()
    if exchange is not None:
        return _count_gather(exchange, tensor)
    context = _context()
    return tensor if context is None else context.all_gather(tensor, axis=0)


def own_rows(local):
    """Where this replica's rows, (local,), are in a gathered tensor."""
    return ops.arange(local, dtype="int32") + index() * local


def _count_mean(exchange, tensors):
    flat = [ops.convert_to_tensor(each) for each in tree.flatten(tensors)]
    size = sum(math.prod(each.shape) for each in flat)

    def count():
        exchange.reduced += size

    return tree.pack_sequence_as(tensors, _pass(flat, count, count))


def _count_gather(exchange, tensor):
    rows = ops.concatenate([tensor] * exchange.replicas)
    size = math.prod(rows.shape)

    def count():
        exchange.gathered += size

    def count_gradient():
        exchange.reduced += size

    (rows,) = _pass([rows], count, count_gradient)
    return rows
