"""A program: training on one device and on two replicas.

Run in a process of its own, because the number of (logical) devices cannot
change once TensorFlow has started.

    python two_replicas.py output.npz
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from minc_tf import TwoViewModel
from minc_tf.models import mlp
from minc_tf.objectives import MINC, SpectralContrastive

BATCH, STEPS, SHAPE = 8, 3, (4, 4, 3)

CASES = {
    "minc": {},
    "minc-parts": {"micro_batches": 2},
    "spectral-target": {"predictor": True, "target_momentum": 0.9},
}


def build(name, predictor=False, **kwargs):
    """A model with statistics over the whole batch, the same at each call."""
    keras.utils.set_random_seed(0)
    spectral = name.startswith("spectral")
    model = TwoViewModel(
        keras.Sequential(
            [
                keras.Input(SHAPE),
                keras.layers.Rescaling(1 / 127.5, -1.0),
                keras.layers.Flatten(),
            ]
        ),
        mlp(48, (8, 4)),
        SpectralContrastive() if spectral else MINC(4),
        predictor=mlp(4, (4,), name="predictor") if predictor else None,
        **kwargs,
    )
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.5))
    return model


def views():
    """Two views (STEPS * BATCH, H, W, C) of noise."""
    rng = np.random.default_rng(0)
    view1 = rng.uniform(0, 255, (STEPS * BATCH, *SHAPE))
    view2 = np.clip(view1 + rng.normal(scale=40, size=view1.shape), 0, 255)
    return view1.astype("float32"), view2.astype("float32")


def interleave(view):
    """Reorders each batch so that replicas get the parts that one would.

    Part p of a batch of two parts consists of the first and second half of
    the two local parts p: BN then sees the same images in both set-ups.
    """
    parts = view.reshape(STEPS, 2, 2, BATCH // 4, *SHAPE)
    return parts.swapaxes(1, 2).reshape(view.shape)


def run(name, strategy, replicas):
    """The mean loss, and all weights at the end."""
    kwargs = CASES[name]
    view1, view2 = views()
    if replicas == 2 and "micro_batches" in kwargs:
        view1, view2 = interleave(view1), interleave(view2)
    with strategy.scope():
        model = build(name, **kwargs)
    history = model.fit(view1, view2, BATCH, shuffle=False, verbose=0).history
    weights = {f"{i:02}": w for i, w in enumerate(model.get_weights())}
    return {"loss": history["loss"], **weights}


def main(destination):
    """Writes what both set-ups gave."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    arrays = {}
    for name in CASES:
        for replicas, strategy in ((1, tf.distribute.get_strategy()), (2, two)):
            for key, value in run(name, strategy, replicas).items():
                arrays[f"{name}/{replicas}/{key}"] = value
    np.savez(destination, **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
