"""What replicas exchange in a training step: the bytes of its collectives.

Sizes of what is reduced and gathered: float32 under every policy of
precision. The few integers with which TensorFlow tells the shapes of what it
gathers, at most 16 bytes a replica and gather, are left out.
"""

import math

import keras

from minc_tf._checks import check_int
from minc_tf.objectives import Objective
from minc_tf.objectives import replicas as global_batch

_BYTES = 4


def exchanged_bytes(
    objective: Objective,
    batch_size: int,
    dim: int,
    replicas: int,
    *,
    previous: bool = False,
) -> dict[str, int]:
    """Bytes that an objective's collectives carry in one training step.

    Forward and backward, for one call of the objective on a batch whose size
    is known, both of its arguments with gradient, without sample weights:
    what passes `minc_tf.objectives.replicas` in a traced step. A
    collective counts once, with its payload; `ring_bytes` tells what that
    puts on the wire.

    Args:
        objective: a `minc_tf.objectives.Objective`. It is not changed.
        batch_size: int, B, the pairs of all replicas together.
        dim: int, d, the dimension of the embeddings.
        replicas: int, n, the replicas that train in step; they divide B.
        previous: bool, whether the step has embeddings under the weights of
            the step before, as `MINC` gets them in a `TwoViewModel`.

    Returns:
        dict of ints: `all_reduce`, the bytes of the tensors that are summed,
        and `all_gather`, those of the gathered results. Of one replica both
        are zero.

    Raises:
        TypeError: for what is no objective.
        ValueError: for a size below 1, replicas that do not divide the batch,
            or a `dim` that is not that of the objective.

    Example:
    ```python
    from minc_tf import diagnostics, objectives

    exchanged = diagnostics.exchanged_bytes(
        objectives.NTXent(), batch_size=4096, dim=256, replicas=8
    )
    print(exchanged, diagnostics.ring_bytes(8, **exchanged))
    ```
    """
    check_int("batch_size", batch_size, 1)
    check_int("dim", dim, 1)
    check_int("replicas", replicas, 1)
    if not isinstance(objective, Objective):
        raise TypeError(
            "exchanged_bytes: objective must be a minc_tf.objectives."
            f"Objective; received {type(objective).__name__}."
        )
    if batch_size % replicas:
        raise ValueError(
            f"exchanged_bytes: replicas={replicas} must divide batch_size="
            f"{batch_size}."
        )
    if getattr(objective, "dim", dim) != dim:
        raise ValueError(
            f"exchanged_bytes: dim must be the objective's, {objective.dim}; "
            f"received {dim}."
        )
    if previous and not objective.takes_previous:
        raise ValueError(
            f"exchanged_bytes: previous must be False for {objective.name}, "
            "which takes no embeddings under other weights; received True."
        )
    if replicas == 1:
        return {"all_reduce": 0, "all_gather": 0}
    copy = type(objective).from_config(objective.get_config())
    copy.build((None, dim), (None, dim))
    copy.built = True
    with global_batch.counted(replicas) as exchange:
        _trace_gradient(copy, (batch_size // replicas, dim), previous)
    return {
        "all_reduce": _BYTES * exchange.reduced,
        "all_gather": _BYTES * exchange.gathered,
    }


def _trace_gradient(objective, shape, previous):
    """Trace a step of an objective and its gradient, and run nothing."""

    def evaluate(*pair):
        kept = {"previous": pair} if previous else {}
        return objective(*pair, training=True, **kept)

    if keras.backend.backend() == "jax":
        import jax

        def loss(z1, z2):
            with keras.StatelessScope():
                return evaluate(z1, z2)

        z = jax.ShapeDtypeStruct(shape, "float32")
        jax.eval_shape(jax.grad(loss, argnums=(0, 1)), z, z)
        return
    import tensorflow as tf

    @tf.function(autograph=False)
    def step(z1, z2):
        with tf.GradientTape() as tape:
            tape.watch((z1, z2))
            loss = evaluate(z1, z2)
        return tape.gradient(loss, (z1, z2))

    z = tf.TensorSpec(shape, "float32")
    step.get_concrete_function(z, z)


def network_bytes(model: keras.Model, replicas: int) -> dict[str, int]:
    """Bytes that are all-reduced in a step for the network around the loss.

    A synchronised batch normalisation of C channels reduces 3C numbers forward
    (sums, sums of squares and, as Keras does it, counts) and 2C backward, each
    time it is called: once a step with both views together, k times and
    another k times forward with `micro_batches=k`. That of a target network
    has no backward pass, nor has the pass with the weights of the step before
    (`TwoViewModel.embeds_previous`). Crops of a second size, which are another
    call, are not counted.

    Args:
        model: a built Keras model, or a `TwoViewModel`.
        replicas: int.

    Returns:
        dict of ints: `gradients`, the bytes of the gradients of all trainable
        variables, and `statistics`, those of batch normalisation.

    Raises:
        ValueError: for a model that is not built, or `replicas` below 1.

    Example:
    ```python
    import minc_tf

    encoder = minc_tf.models.small_resnet(filters=(8, 16))
    model = minc_tf.build("minc", encoder, projector_widths=(32, 8))
    print(minc_tf.diagnostics.network_bytes(model, replicas=2))
    ```
    """
    check_int("replicas", replicas, 1)
    if not model.built:
        raise ValueError(
            f"network_bytes: model must be built; {model.name} is not. Call "
            "it on a batch, or give its encoder an input shape."
        )
    if replicas == 1:
        return {"gradients": 0, "statistics": 0}
    parts = getattr(model, "micro_batches", 1)
    forward = parts if parts == 1 else 2 * parts
    online = 3 * forward + 2 * parts
    reduced = online * _channels(model)
    # A target network, and the weights of the step before, are a pass more.
    if getattr(model, "targets", ()) or getattr(model, "embeds_previous", 0):
        kept = (model.encoder, model.projector)
        reduced += 3 * parts * sum(map(_channels, kept))
    trained = sum(math.prod(v.shape) for v in model.trainable_weights)
    return {"gradients": _BYTES * trained, "statistics": _BYTES * reduced}


def ring_bytes(
    replicas: int, all_reduce: int = 0, all_gather: int = 0
) -> float:
    """Bytes that each replica sends, and receives, in a ring of replicas.

    `2 (n - 1) / n` times what is reduced, `(n - 1) / n` times what is
    gathered: the least that any algorithm without help of the network needs.

    Args:
        replicas: int, n.
        all_reduce: int, bytes of the tensors that are reduced.
        all_gather: int, bytes of the gathered results.

    Returns:
        float, bytes.

    Raises:
        ValueError: for `replicas` below 1.

    Example:
    ```python
    import minc_tf

    print(minc_tf.diagnostics.ring_bytes(8, all_reduce=1024))  # 1792.0
    ```

    Source: Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms
    for clusters of workstations", J. Parallel Distrib. Comput. 69 (2).
    """
    check_int("replicas", replicas, 1)
    return (2 * all_reduce + all_gather) * (replicas - 1) / replicas


def _channels(model):
    """Channels of the normalisations that replicas take statistics for."""
    return sum(
        layer.moving_mean.shape[0]
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.synchronized
        and layer.trainable
    )
