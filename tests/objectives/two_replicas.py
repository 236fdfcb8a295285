"""A program: steps of objectives on replicas.

Run in a process of its own, because the number of (logical) devices cannot
change once TensorFlow has started.

    python two_replicas.py replicas input.json output.npz
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

import minc_tf  # noqa: F401, so that saved classes are found

BATCH, DIM, STEPS = 12, 5, 2


def batches():
    """(STEPS, 2, BATCH, DIM): two views a step, the scale growing."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(STEPS, BATCH, DIM))
    second = first + 0.5 * rng.normal(size=first.shape)
    growth = np.arange(1, STEPS + 1)[:, None, None, None]
    views = growth * np.stack([first, second], axis=1)
    return views.astype("float32")


def run(config, strategy, parts):
    """Losses, gradients (STEPS, 2, BATCH, DIM) and final state."""
    with strategy.scope():
        objective = keras.saving.deserialize_keras_object(config)
        objective.build((None, DIM), (None, DIM))

    # Eagerly: a graph would be traced for each replica.
    def step(z1, z2, weights):
        kwargs = {}
        if objective.takes_sample_weight:
            kwargs["sample_weight"] = weights
        if objective.takes_previous:
            # Another network's, whose moments are to be global as well.
            kwargs["previous"] = 0.8 * z1 + 0.1, 0.9 * z2 - 0.1 * z1
        with tf.GradientTape() as tape:
            tape.watch((z1, z2))
            loss = objective(z1, z2, training=True, **kwargs)
            # Keras sums gradients over replicas.
            scaled = loss / parts
        return loss, *tape.gradient(scaled, (z1, z2))

    losses, gradients = [], []
    for views in batches():
        # Unequal totals on the replicas.
        weights = np.linspace(0.5, 2.0, BATCH, dtype="float32")
        halves = [np.split(part, parts) for part in (*views, weights)]
        values = [
            strategy.experimental_distribute_values_from_function(
                lambda context, half=half: tf.constant(
                    half[context.replica_id_in_sync_group]
                )
            )
            for half in halves
        ]
        loss, *each = (
            strategy.experimental_local_results(result)
            for result in strategy.run(step, args=values)
        )
        losses.append(np.mean(loss))
        gradients.append([np.concatenate(view) for view in each])
    results = {"loss": losses, "gradient": gradients}
    for variable in objective.variables:
        copies = strategy.experimental_local_results(variable.value)
        results[variable.name] = np.stack(copies)
    return results


def results_of(configs, parts):
    """What serialised objectives do on so many devices, by key."""
    strategy = tf.distribute.get_strategy()
    if parts > 1:
        devices = [f"CPU:{index}" for index in range(parts)]
        strategy = tf.distribute.MirroredStrategy(devices)
    return {
        f"{index}/{key}": np.asarray(value)
        for index, config in enumerate(configs)
        for key, value in run(config, strategy, parts).items()
    }


def main(replicas, source, destination):
    """Reads serialised objectives, writes what they do on `replicas`."""
    parts = int(replicas)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * parts
    )
    with open(source) as file:
        configs = json.load(file)
    np.savez(destination, **results_of(configs, parts))


if __name__ == "__main__":
    main(*sys.argv[1:])
