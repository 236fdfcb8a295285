"""Whether short runs diverge: MINC's default at up to twice the best rate.

    python benchmarks/divergence.py

200 runs on the embedded shapes, 100 of batch 8 and 100 of batch 64: learning
rates of 1 to 2 times the one of `shapes.py`, 20 seeds each, 150 and 60 steps, a
small network. A run diverges where a loss, a weight or the second moment is not
finite, and collapses where `minc_tf.evaluation.CollapseMonitor` says so of 512
pictures that it has not seen. One model is compiled for each batch, and starts
anew for every run.
"""

import json

import keras
import numpy as np
from grid import arrays, part, view_batches, write
from record import ROOT, origin

import minc_tf
from minc_tf.cli import app

#: The learning rate of `shapes.py`, and steps, by batch.
BATCHES = {8: (2.8e-3, 150), 64: (8e-3, 60)}
FACTORS, SEEDS, TRAIN, TEST = (1.0, 1.25, 1.5, 1.75, 2.0), 20, 2000, 512


class Rate(keras.callbacks.Callback):
    """The learning rate of each step, which one compiled step reads."""

    def __init__(self, schedule):
        super().__init__()
        self._schedule = schedule

    def on_train_batch_begin(self, batch, logs=None):
        """Set that of a step."""
        self.model.optimizer.learning_rate = float(self._schedule(batch))


def build():
    """A model with new weights."""
    encoder = minc_tf.models.small_resnet(filters=(8, 16, 32))
    return minc_tf.build("minc", encoder, projector_widths=(128, 64))


def start_anew(model, seed):
    """New weights, and an optimizer that knows of no gradient."""
    keras.utils.set_random_seed(seed)
    model.set_weights(build().get_weights())
    for variable in model.optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))


def run(model, monitor, train, batch, factor, seed) -> str:
    """Trains once; returns what is wrong, or an empty string."""
    start_anew(model, seed)
    rate, steps = BATCHES[batch]
    schedule = minc_tf.optimizers.warmup_cosine(
        factor * rate, steps=steps, warmup_steps=steps // 20
    )
    try:
        model.fit(
            view_batches("shapes", train, batch, seed),
            steps_per_epoch=steps,
            callbacks=[Rate(schedule)],
            shuffle=False,
            verbose=0,
        )
    except FloatingPointError as error:
        return f"diverged: {error}"
    if not np.all(np.isfinite(model.objective.second_moment)):
        return "diverged: the second moment is not finite"
    monitor.set_model(model)
    monitor.measure()
    return f"collapsed: {monitor.reason}" if monitor.reason else ""


def main(_) -> None:
    """Run all, and write the record."""
    whole = arrays("shapes", "train")
    train = part(whole, np.arange(TRAIN))
    held = part(whole, np.arange(TRAIN, TRAIN + TEST))
    monitor = minc_tf.evaluation.CollapseMonitor(held.examples(256))
    found = {}
    for batch in BATCHES:
        model = build()
        model.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.05))
        model.optimizer.build(model.trainable_variables)
        for factor in FACTORS:
            wrong = [
                run(model, monitor, train, batch, factor, seed)
                for seed in range(SEEDS)
            ]
            name = f"B={batch} lr={factor * BATCHES[batch][0]:.3g}"
            found[name] = {"runs": SEEDS, "wrong": [w for w in wrong if w]}
            print(name, found[name], flush=True)
    record = ROOT / "benchmarks/results/divergence.json"
    write(record, json.dumps({**origin(), "cells": found}, indent=1) + "\n")


if __name__ == "__main__":
    app.launch(main)
