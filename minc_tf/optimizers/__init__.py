"""Optimizers and schedules that Keras lacks."""

import keras

from minc_tf._imports import register_classes
from minc_tf._registry import Registry
from minc_tf.optimizers.lars import LARS
from minc_tf.optimizers.schedules import warmup_cosine

__all__ = ["LARS", "OPTIMIZERS", "warmup_cosine"]

#: The optimizers by their names in settings.
OPTIMIZERS = Registry(
    "optimizer",
    {
        "adamw": keras.optimizers.AdamW,
        "lars": LARS,
        "sgd": keras.optimizers.SGD,
    },
    base=keras.Optimizer,
)

register_classes()
