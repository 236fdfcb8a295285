"""On which devices a run on JAX trains: `keras.distribution`."""

import contextlib

import jax
import keras
import numpy as np
from ml_collections import ConfigDict

from minc_tf.models.view_pairs import shares
from minc_tf.training.source_checks import check_shares


def share_batches(config: ConfigDict) -> contextlib.AbstractContextManager:
    """A context in which models are made, and batches shared, as a run says.

    `config.strategy` "default" leaves it to what is set already, one device
    if nothing is; "mirrored" takes all devices of this process, or the first
    `config.distribute.devices`; "auto" the same where there are several.

    Args:
        config: the run's settings.

    Returns:
        A context manager.

    Raises:
        ValueError: if there are not so many devices, they cannot share a
            batch, or other processes train in step with this one.
    """
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
    if distribution is None:
        return contextlib.nullcontext()
    return distribution.scope()


def to_devices(batch: np.ndarray) -> jax.Array:
    """Starts to send a batch to the devices that share it.

    Args:
        batch: array (B, ...).

    Returns:
        The same as an array of JAX.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        return jax.device_put(batch)
    layout = distribution.get_data_layout(batch.shape)
    return keras.distribution.distribute_tensor(batch, layout)


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
