"""Optimizers and schedules that Keras lacks."""

from minc_tf.optimizers.lars import LARS
from minc_tf.optimizers.schedules import warmup_cosine

__all__ = ["LARS", "warmup_cosine"]
