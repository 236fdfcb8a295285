"""What batch statistics of the present weights are worth after a short run.

    python benchmarks/batch_statistics.py

Trains MINC on 4,000 embedded shapes for 400 steps of 64, and measures the kNN
accuracy (k = 20) on 1,000 others of the training split three times: with the
moving statistics of Keras's own rule, with those of `fit`, and recomputed.
Three seeds.
"""

import json

import keras
import numpy as np
from grid import accuracies, arrays, interval, part, view_batches, write
from record import ROOT, origin

import minc_tf
from minc_tf.cli import app

TRAIN, TEST, STEPS, BATCH, SEEDS = 4000, 1000, 400, 64, (0, 1, 2)


def small_resnet(momentum):
    """The library's network for small images."""
    return minc_tf.models.small_resnet(
        filters=(16, 32, 64), batch_norm_momentum=momentum
    )


NETWORKS = {
    "small_resnet, momentum 0.9": lambda: small_resnet(0.9),
    "small_resnet, momentum 0.999": lambda: small_resnet(0.999),
}


class Keep(keras.callbacks.Callback):
    """Moving statistics by Keras's own rule, of those of `fit`.

    Of `fit`'s, `new = m' old + (1 - m') batch`, the batch's own are known, and
    with them what the layer's momentum would have made.
    """

    def on_train_begin(self, logs=None):
        """Begin with those of the initialisation."""
        self._layers = [
            layer
            for layer in self.model.encoder._flatten_layers()
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        self._before = self.values()
        self.kept = self.values()

    def on_train_batch_end(self, batch, logs=None):
        """Follow a step."""
        warm = max((1 + batch) / (10 + batch), 0.9)
        after = self.values()
        for i, layer in enumerate(self._layers):
            used = min(layer.momentum, warm)
            for j in (0, 1):
                found = (after[i][j] - used * self._before[i][j]) / (1 - used)
                self.kept[i][j] += (1 - layer.momentum) * (
                    found - self.kept[i][j]
                )
        self._before = after

    def values(self):
        """Copies of the moving means and variances, float64."""
        return [
            [
                each.numpy().astype("float64")
                for each in (layer.moving_mean, layer.moving_variance)
            ]
            for layer in self._layers
        ]

    def assign(self):
        """Put those of Keras's rule into the model."""
        for layer, (mean, variance) in zip(
            self._layers, self.kept, strict=True
        ):
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)


def run(name: str, seed: int) -> dict[str, float]:
    """KNN accuracy in % of one run, with each of the statistics."""
    keras.utils.set_random_seed(seed)
    rows = np.random.default_rng(seed).permutation(TRAIN + TEST)
    whole = arrays("shapes", "train")
    train, test = part(whole, rows[:TRAIN]), part(whole, rows[TRAIN:])
    encoder = NETWORKS[name]()
    model = minc_tf.build(
        "minc", encoder, projector_widths=(256, 64), triangular=False
    )
    rate = minc_tf.optimizers.warmup_cosine(8e-3, steps=STEPS, warmup_steps=20)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=0.05))
    keep = Keep()
    model.fit(
        view_batches("shapes", train, BATCH, seed),
        steps_per_epoch=STEPS,
        callbacks=[keep],
        shuffle=False,
        verbose=0,
    )
    found = {"fit": accuracies(encoder, train, test)["knn"]}
    keep.assign()
    found["keras"] = accuracies(encoder, train, test)["knn"]
    images = train.images.astype("float32")
    minc_tf.models.recompute_statistics(encoder, np.split(images, 16))
    found["recomputed"] = accuracies(encoder, train, test)["knn"]
    keras.backend.clear_session()
    return found


def main(_) -> None:
    """Run all, and write the record and its table."""
    rows = {name: [run(name, seed) for seed in SEEDS] for name in NETWORKS}
    record = ROOT / "benchmarks/results/batch_statistics.json"
    write(record, json.dumps({**origin(), "knn": rows}, indent=1) + "\n")
    lines = [
        "| network | Keras's rule | `fit` | recomputed |",
        "| --- | --- | --- | --- |",
    ]
    for name, found in rows.items():
        shown = [
            "{:.1f} ± {:.1f}".format(*interval([each[kind] for each in found]))
            for kind in ("keras", "fit", "recomputed")
        ]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    write(record.with_suffix(".md"), "\n".join(lines) + "\n")


if __name__ == "__main__":
    app.launch(main)
