"""What a model needs to train on replicas and to be saved with its state."""

import warnings

import keras
from keras import ops

#: Between the seeds of two replicas: a prime, far from seeds that people use.
_SEED_STRIDE = 1_000_003


def unsynchronized_norms(model: keras.Layer) -> list[keras.Layer]:
    """The batch normalisations whose statistics are those of one replica."""
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
        and not layer.synchronized
    ]


def portable(config):
    """A copy of a config with what Keras takes on this backend.

    Where batches are global, Keras refuses `synchronized=True`.
    """
    if keras.backend.backend() == "tensorflow":
        return config
    if isinstance(config, dict):
        config = {key: portable(value) for key, value in config.items()}
        if config.get("synchronized"):
            config["synchronized"] = False
        return config
    if isinstance(config, (list, tuple)):
        return [portable(each) for each in config]
    return config


def warn_of_local_norms(model: keras.Model) -> None:
    """Warns of statistics of single replicas, where there are several."""
    local = unsynchronized_norms(model)
    if local:
        warnings.warn(
            f"{model.name}: {len(local)} BatchNormalization layers "
            f"({local[0].name}, ...) take statistics of each replica "
            "alone, so training depends on their number; make them with "
            "synchronized=True.",
            stacklevel=3,
        )


def spread_random_states(states: list, strategy) -> None:
    """Gives each replica of TensorFlow random numbers of its own.

    Else dropout would leave out the same units everywhere. The first replica
    keeps its state, which is also what a checkpoint holds.
    """
    import tensorflow as tf

    from minc_tf.objectives import replicas

    alone = strategy.num_replicas_in_sync == 1
    if not states or alone or replicas.count() > 1:  # on a replica already
        return

    def spread():
        for state in states:
            # A seed and a counter: another seed is another stream.
            value = tf.convert_to_tensor(state)
            other = tf.cast(replicas.index(), value.dtype) * _SEED_STRIDE
            state.assign(value + tf.stack([other, tf.zeros_like(other)]))

    # Out of the graph in which Keras builds a model by its first batch.
    with tf.init_scope(), strategy.scope():
        strategy.run(spread)


def save_random_states(states: list, store) -> None:
    """Adds the states of random generators, which Keras leaves out."""
    for i, state in enumerate(states):
        store[f"random_state_{i}"] = ops.convert_to_numpy(state)


def load_random_states(states: list, store) -> dict:
    """Restores what `save_random_states` saved; returns what else there is."""
    saved = {key: store[key] for key in store.keys()}  # noqa: SIM118
    random = [key for key in saved if key.startswith("random_state_")]
    found = {key: saved.pop(key) for key in random}
    for i, state in enumerate(states):
        if f"random_state_{i}" in found:
            state.assign(found[f"random_state_{i}"][()])
    return saved
