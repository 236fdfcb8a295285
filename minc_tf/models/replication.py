"""What a model needs to train on replicas and to be saved with its state."""

import warnings

import keras
from keras import ops


def unsynchronized_norms(model: keras.Layer) -> list[keras.Layer]:
    """The batch normalisations whose statistics are those of one replica.

    Args:
        model: Keras layer or model.

    Returns:
        List of layers.
    """
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
        and not layer.synchronized
    ]


def portable(config):
    """A config with the settings that Keras takes on this backend.

    Where batches are global, so are the statistics of every batch
    normalisation, and Keras refuses `synchronized=True`.

    Args:
        config: a config as JSON has it: dict, list or plain value.

    Returns:
        The same, changed where needed; `config` itself is left alone.
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


class Replicated:
    """Mix-in for a `keras.Model` that is trained in step by replicas.

    Random generators are part of what is saved, and differ from replica to
    replica.
    """

    def prepare_replicas(self) -> None:
        """Spreads the random generators; warns of local batch statistics.

        Called once the state is made. Without replicas nothing is done.
        """
        if self._replica_count() == 1:
            return
        self.spread_random_states()
        local = unsynchronized_norms(self)
        if local:
            warnings.warn(
                f"{self.name}: {len(local)} BatchNormalization layers "
                f"({local[0].name}, ...) take statistics of each replica "
                "alone, so training depends on their number; make them with "
                "synchronized=True.",
                stacklevel=3,
            )

    def check_strategy(
        self, jit_compile="auto", steps_per_execution=1, **others
    ) -> None:
        """Refuses arguments of `compile` that do not work on replicas."""
        if keras.backend.backend() == "tensorflow":
            from minc_tf.models import tensorflow_step

            tensorflow_step.check_strategy(
                self.distribute_strategy, jit_compile, steps_per_execution
            )

    def check_clipping(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Refuses an optimizer that clips gradients where it cannot.

        Keras (3.15) clips the gradient of each replica, then adds them up.

        Args:
            optimizer: Keras optimizer, not one that wraps others.

        Raises:
            ValueError: if it clips and there are several replicas.
        """
        count = self._replica_count()
        for name in ("clipnorm", "global_clipnorm", "clipvalue"):
            value = getattr(optimizer, name)
            if value is not None and count > 1:
                raise ValueError(
                    f"{type(self).__name__}.compile: the optimizer has "
                    f"{name}={value}, which Keras would apply to the gradient "
                    f"of each of the {count} replicas and not to their sum; "
                    "leave it out."
                )

    def spread_random_states(self) -> None:
        """Gives each replica random numbers of its own, in dropout say."""
        if keras.backend.backend() == "tensorflow":
            from minc_tf.models import tensorflow_step

            # The layer of the views sees to that itself.
            own = [] if self.views is None else self.views.variables
            states = [
                state
                for state in self._random_states()
                if not any(state is other for other in own)
            ]
            # Wherever this is called, in the strategy's scope or not.
            tensorflow_step.spread_random_states(
                states, self.distribute_strategy
            )

    def save_own_variables(self, store):
        """Adds the states of the random generators, which Keras leaves out."""
        super().save_own_variables(store)
        for i, state in enumerate(self._random_states()):
            store[f"random_state_{i}"] = ops.convert_to_numpy(state)

    def load_own_variables(self, store):
        """Restores what `save_own_variables` saved."""
        saved = {key: store[key] for key in store.keys()}  # noqa: SIM118
        random = [k for k in saved if k.startswith("random_state_")]
        states = {key: saved.pop(key) for key in random}
        super().load_own_variables(saved)
        for i, state in enumerate(self._random_states()):
            if f"random_state_{i}" in states:
                state.assign(states[f"random_state_{i}"][()])
        self.spread_random_states()

    def _replica_count(self):
        if keras.backend.backend() != "tensorflow":
            return 1
        return self.distribute_strategy.num_replicas_in_sync

    def _random_states(self):
        known = {id(v) for v in (*self.weights, *self.metrics_variables)}
        return [v for v in self.variables if id(v) not in known]
