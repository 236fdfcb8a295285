"""Where a run trains on JAX: the devices of `keras.distribution`."""

import contextlib

import jax
import keras
from ml_collections import ConfigDict

from minc_tf.models.backend import shares, to_devices
from minc_tf.training.devices import Devices
from minc_tf.training.jax_checks import check_settings, left_out
from minc_tf.training.source_checks import check_shares


class SharedDevices(Devices):
    """The devices that share each batch; None for what is set already."""

    # The next batch is made and sent while the devices work on the last one.
    ahead = 1
    compiles = True

    def __init__(self, distribution=None):
        self.distribution = distribution

    @classmethod
    def of(cls, config: ConfigDict) -> "SharedDevices":
        """Those that a run's settings ask for."""
        check_settings(config)
        if jax.process_count() > 1:
            raise ValueError(
                "a run on JAX trains in one process; jax.distributed has "
                f"{jax.process_count()}."
            )
        distribution = _distribution(config)
        count = shares()
        if distribution is not None:
            count = distribution.num_model_replicas
        check_shares(config, count)
        return cls(distribution)

    def in_use(self, last_checkpoint):
        """The scope of the distribution."""
        if self.distribution is None:
            return contextlib.nullcontext()
        return self.distribution.scope()

    def steps(self, model, batches):
        """As Keras's own `fit` on JAX (3.15), but without waiting.

        Variables get their values when a callback asks, or the epoch ends.
        """
        model.make_train_function()
        sent = map(to_devices, batches)
        batch, state = next(sent), None
        names = ("trainable", "non_trainable", "optimizer", "metrics")
        keys = [f"{name}_variables" for name in names]
        while True:
            if model._jax_state_synced:
                state = model._get_jax_state(**dict.fromkeys(keys, True))
                model._jax_state_synced = False
            logs, state = model.train_function(state, iter((batch,)))
            model._jax_state = dict(zip(keys, state, strict=True))
            batch = next(sent)
            yield logs

    def settle(self, model):
        """Give the variables their values."""
        model.jax_state_sync()

    def left_out(self, config):
        """What a run on JAX does not make."""
        return left_out(config)


def _distribution(config):
    devices = config.distribute.devices
    if config.strategy == "default":
        if devices is not None:
            raise ValueError(
                f"config.distribute.devices={devices!r} needs "
                "config.strategy='mirrored'; received 'default'."
            )
        return None
    found = keras.distribution.list_devices()
    count = len(found) if devices is None else devices
    if not isinstance(count, int) or not 1 <= count <= len(found):
        raise ValueError(
            "config.distribute.devices must be an int on JAX, at most the "
            f"{len(found)} devices that there are; received {devices!r}."
        )
    if config.strategy == "auto" and count == 1:
        return None
    return keras.distribution.DataParallel(devices=found[:count])
