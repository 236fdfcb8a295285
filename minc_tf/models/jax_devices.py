"""Batches on the devices that share them; JAX only."""

import jax
import keras
import numpy as np


def to_devices(batch: np.ndarray) -> jax.Array:
    """Start to send a batch (B, ...) to the devices that share it."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return jax.device_put(batch)
    layout = distribution.get_data_layout(batch.shape)
    return keras.distribution.distribute_tensor(batch, layout)
