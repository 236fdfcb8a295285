"""The running means of an epoch on the replicas of TensorFlow."""

import keras
import numpy as np
import tensorflow as tf

from minc_tf.objectives import replicas


def read(model: keras.Model) -> np.ndarray:
    """The sums and counts of the running means, of each replica (n, k).

    Added up they would change the last digit of a run that is resumed.
    """
    if model.distribute_strategy.num_replicas_in_sync == 1:
        # A function is traced at each call, of which TensorFlow would warn.
        own = [keras.ops.convert_to_numpy(v) for v in model.metrics_variables]
        return np.stack(own)[np.newaxis]

    @tf.function
    def read_own():
        own = [tf.convert_to_tensor(v) for v in model.metrics_variables]
        return replicas.gather(tf.stack(own)[tf.newaxis])

    values = model.distribute_strategy.run(read_own)
    return model.distribute_strategy.experimental_local_results(values)[
        0
    ].numpy()


def assign(model: keras.Model, values: np.ndarray) -> None:
    """Set what `read` read, also on another number of replicas."""
    count = model.distribute_strategy.num_replicas_in_sync
    if len(values) != count:
        # Each replica counts every step.
        values = np.repeat(values.mean(0, keepdims=True), count, axis=0)

    @tf.function
    def assign_own(values):
        own = tf.gather(values, replicas.index())
        for variable, value in zip(
            model.metrics_variables, tf.unstack(own), strict=True
        ):
            variable.assign(value)

    model.distribute_strategy.run(assign_own, args=(tf.constant(values),))
