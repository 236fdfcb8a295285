"""A program: the collectives in the traced steps of replicas, and their sizes.

Run in a process of its own, because the number of (logical) devices cannot
change once TensorFlow has started.

    python collectives.py replicas output.json
"""

import json
import sys

import keras
import tensorflow as tf
from keras import layers

import minc_tf
from minc_tf.models import METHODS

#: Each objective once, with those of its forms that compare other embeddings:
#: the methods beside them differ in a function of each pair. B, d: more than
#: 2d pairs, and just as many, where the spectral objective takes another way.
METHODS_OF = {row.objective: name for name, row in reversed(METHODS.items())}
OBJECTIVES = (
    *((method, 24, 5) for method in METHODS_OF.values()),
    ("dcl_sq", 24, 5),
    ("mio_improved", 24, 5),
    ("minc", 12, 6),
    ("spectral", 12, 6),
)

#: Method and micro-batches of whole steps: state, a target network and a
#: predictor, gathered embeddings.
STEPS = (("minc", 1), ("byol", 1), ("simclr", 2))
STEP_BATCH, STEP_DIM, SHAPE = 8, 4, (8, 8, 3)


def make_objective(method, dim):
    """The objective of a method."""
    row = METHODS[method]
    return row.objective(**row.objective_arguments(dim))


def make_model(method, micro_batches):
    """A small model of a method, with convolution and normalisation."""
    encoder = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(3, 3, strides=2),
            layers.BatchNormalization(synchronized=True),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
        ]
    )
    widths = {"projector_widths": (6, STEP_DIM)}
    if METHODS[method].predictor is not None:
        widths["predictor_widths"] = (7, STEP_DIM)
    return minc_tf.build(method, encoder, micro_batches=micro_batches, **widths)


def measure(strategy, function, shape):
    """Traces a function of two tensors on the replicas, and runs it.

    Args:
        strategy: `tf.distribute.Strategy`.
        function: what a replica does with two tensors of its own.
        shape: their shape.

    Returns:
        A list for each device: (type, dtype, numbers) of its collectives. The
        sizes are those of the run: with what is gathered they are not static.
    """
    found = []

    @tf.function(autograph=False)
    def step(first, second):
        strategy.run(function, args=(first, second))
        graph = tf.compat.v1.get_default_graph()
        found.extend(op for op in graph.get_operations() if _exchanges(op))
        return [tf.size(op.outputs[0]) for op in found]

    arguments = [tf.random.stateless_uniform(shape, (0, i)) for i in range(2)]
    traced = step.get_concrete_function(*arguments)
    # Functions that the graph calls, if there were any, would escape it.
    for called in traced.graph.as_graph_def().library.function:
        assert not any(map(_exchanges, called.node_def)), called.signature.name
    devices = {}
    for op, size in zip(found, traced(*arguments), strict=True):
        row = (_exchanges(op), op.outputs[0].dtype.name, int(size))
        devices.setdefault(op.device, []).append(row)
    return list(devices.values())


def _exchanges(op):
    """The type of an operation that reaches other replicas, or nothing."""
    kind = getattr(op, "type", None) or op.op
    words = ("Collective", "Nccl", "AllToAll", "AllReduce", "AllGather")
    return kind if any(word in kind for word in words) else ""


def measure_objective(strategy, method, batch, dim):
    """The collectives of an objective and its gradient."""
    with strategy.scope():
        objective = make_objective(method, dim)
        objective.build((None, dim), (None, dim))

    def step(z1, z2):
        with tf.GradientTape() as tape:
            tape.watch((z1, z2))
            loss = objective(z1, z2, training=True)
        return tape.gradient(loss, (z1, z2))

    shape = (batch // strategy.num_replicas_in_sync, dim)
    return measure(strategy, step, shape)


def measure_step(strategy, method, micro_batches):
    """The collectives of a whole step of training."""
    with strategy.scope():
        model = make_model(method, micro_batches)
        model.compile(optimizer=keras.optimizers.SGD(0.01))
        model.optimizer.build(model.trainable_variables)
    local = STEP_BATCH // strategy.num_replicas_in_sync
    step = lambda *views: model.train_step(views)  # noqa: E731
    return measure(strategy, step, (local, *SHAPE))


def main(replicas, destination):
    """Writes the collectives of every objective, and of whole steps."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * int(replicas)
    )
    # What one worker with two devices does, without a cluster.
    strategy = tf.distribute.MultiWorkerMirroredStrategy._from_local_devices(
        tuple(f"/device:CPU:{i}" for i in range(int(replicas)))
    )
    results = {
        "objectives": {
            f"{method} {batch} {dim}": measure_objective(
                strategy, method, batch, dim
            )
            for method, batch, dim in OBJECTIVES
        },
        "steps": {
            f"{method} {parts}": measure_step(strategy, method, parts)
            for method, parts in STEPS
        },
    }
    with open(destination, "w") as file:
        json.dump(results, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
