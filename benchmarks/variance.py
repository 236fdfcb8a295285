"""What an estimate of Lambda does to the gradient: noise, lag, self-pairs.

    python benchmarks/variance.py

The central claim of the paper, measured. A small network is trained on the
shapes with MINC's default, at several batch sizes. Every other tracking of
Lambda follows the same embeddings. Early, in the middle and late it is
measured, at the weights as they are,

- how far each Lambda is from the exact one (of 2,048 images), relative to it;
- the mean squared distance of a batch's gradient from the mean gradient with
  the exact Lambda, for each Lambda, relative to that of the spectral loss.

Writes `variance.json`, `.md` and `.png` to `benchmarks/results`.
"""

import json
import pathlib

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from grid import write
from record import ROOT, origin

import minc_tf
from minc_tf import data
from minc_tf.cli import app
from minc_tf.objectives import MINC, SpectralContrastive

DIM, WIDTHS, FILTERS, MU = 64, (256, 64), (16, 32, 64), 10.0
#: Images of a run at each batch size; the learning rates of the shapes' trials.
RUNS = {8: (16_000, 2.8e-3), 16: (24_000, 4e-3), 64: (40_000, 8e-3)}
STAGES = {"early": 0.1, "middle": 0.5, "late": 1.0}
MEASURED = 2048
NAMES = ("exact", "corrected", "lead", "mean .3", "batch", "spectral")

_BATCHES = flags.DEFINE_list("batches", list(map(str, RUNS)), "Batch sizes.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of images, views and weights.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)


def main(_) -> None:
    """Trains and measures at each batch size; writes table and picture."""
    rows = [
        row
        for batch in map(int, _BATCHES.value)
        for row in run_and_measure(batch)
    ]
    path = pathlib.Path(_RESULTS.value) / "variance.json"
    write(path, json.dumps({**origin(), "rows": rows}, indent=1) + "\n")
    write(path.with_suffix(".md"), table(rows))
    write_chart(path.with_suffix(".png"), rows)


def run_and_measure(batch: int) -> list[dict]:
    """One run; a row for each stage."""
    keras.utils.set_random_seed(_SEED.value)
    images, rate = RUNS[batch]
    steps = images // batch
    stages = {int(share * steps): name for name, share in STAGES.items()}
    encoder = minc_tf.models.small_resnet(filters=FILTERS)
    model = minc_tf.build(
        "minc", encoder, projector_widths=WIDTHS, triangular=False, mu=MU
    )
    schedule = minc_tf.optimizers.warmup_cosine(
        rate, steps=steps, warmup_steps=steps // 20
    )
    model.compile(keras.optimizers.AdamW(schedule, weight_decay=0.05))
    model.optimizer.build(model.trainable_variables)
    followers = {
        "lead": MINC(DIM, tracking="lead", triangular=False, mu=MU),
        "mean .3": MINC(
            DIM, tracking="mean", rate=0.3, triangular=False, mu=MU
        ),
        "batch": MINC(DIM, tracking="mean", rate=1.0, triangular=False, mu=MU),
    }
    for follower in followers.values():
        follower.build((None, DIM))
        follower.built = True

    @tf.function(autograph=False)
    def step(view1, view2):
        # Of the weights that this step moves.
        z = model(tf.concat([view1, view2], axis=0), training=True)
        for follower in followers.values():
            follower(*tf.split(z, 2), training=True)
        model.train_step((view1, view2))

    source = data.load("shapes", seed=_SEED.value)
    rows = []
    for done, (view1, view2) in enumerate(
        batches_of(source, batch, _SEED.value).take(steps), start=1
    ):
        step(view1, view2)
        if done in stages:
            row = measure(model, followers, source, batch)
            rows.append({"batch": batch, "stage": stages[done], **row})
            print(rows[-1], flush=True)
    return rows


def batches_of(source, batch, seed):
    """Batches of two views of the shapes, as their recipe makes them."""
    views = minc_tf.augment.MultiView(
        minc_tf.augment.presets.simclr(32, strength=0.5, blur=False), size=32
    )
    return data.view_batches(source, views, batch, seed=seed)


def measure(model, followers, source, batch) -> dict:
    """Errors of each Lambda, and of the gradient with it."""
    batches = list(
        batches_of(source, batch, _SEED.value + 1).take(MEASURED // batch)
    )
    exact = exact_moment(model, batches)
    held = MINC(DIM, tracking="mean", triangular=False, mu=MU, self_pairs=True)
    held.build((None, DIM))
    held.built = True
    held.second_moment.assign(exact)
    held._initialized.assign(1.0)
    own = model.objective
    objectives = {"corrected": own, **followers}
    errors = {
        name: np.linalg.norm(objective.second_moment.numpy() - exact)
        / np.linalg.norm(exact)
        for name, objective in objectives.items()
    }
    variables = model.trainable_variables
    spectral = SpectralContrastive(mu=MU)

    @tf.function(autograph=False)
    def gradients(view1, view2):
        views = tf.concat([view1, view2], axis=0)
        previous = tf.split(model.embed_previous(views, training=True), 2)
        with tf.GradientTape(persistent=True) as tape:
            pair = tf.split(model(views, training=True), 2)
            losses = {
                "exact": held(*pair, training=False),
                "spectral": MU * spectral(*pair, training=True),
            }
            for name, objective in objectives.items():
                kept = {"previous": previous} if objective is own else {}
                before = [tf.identity(v) for v in objective.variables]
                losses[name] = objective(*pair, training=True, **kept)
                for variable, value in zip(
                    objective.variables, before, strict=True
                ):
                    variable.assign(value)
        return {
            name: tf.concat(
                [tf.reshape(g, [-1]) for g in tape.gradient(loss, variables)],
                axis=0,
            )
            for name, loss in losses.items()
        }

    mean = sum(gradients(*views)["exact"] for views in batches) / len(batches)
    squares = dict.fromkeys(NAMES, 0.0)
    for views in batches:
        for name, gradient in gradients(*views).items():
            distance = tf.reduce_sum((gradient - mean) ** 2)
            squares[name] += float(distance) / len(batches)
    return {
        "effective_rank": float(np.trace(exact) ** 2 / np.sum(exact**2)),
        "moment_error": {k: round(float(v), 4) for k, v in errors.items()},
        "gradient_error": {
            name: round(squares[name] / squares["spectral"], 4)
            for name in NAMES
        },
    }


def exact_moment(model, batches) -> np.ndarray:
    """Second moment over all batches, each with its own batch statistics."""
    meter = MINC(DIM, tracking="mean", rate=1.0, mu=MU)
    total = 0.0
    for views in batches:
        z = model(tf.concat(views, axis=0), training=True)
        meter(*tf.split(z, 2), training=True)
        total = total + meter.second_moment.numpy() / len(batches)
    return total


def table(rows: list[dict]) -> str:
    """Both errors, as Markdown."""
    lines = [
        "| B | stage | effective rank | of Lambda: "
        + ", ".join(NAMES[1:5])
        + " | of the gradient, spectral = 1: "
        + ", ".join(NAMES[:5])
        + " |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        moments = [f"{row['moment_error'][n]:.2f}" for n in NAMES[1:5]]
        gradients = [f"{row['gradient_error'][n]:.2f}" for n in NAMES[:5]]
        lines.append(
            f"| {row['batch']} | {row['stage']} | {row['effective_rank']:.1f} "
            f"| {', '.join(moments)} | {', '.join(gradients)} |"
        )
    return "\n".join(lines) + "\n"


def write_chart(path, rows: list[dict]) -> None:
    """A column for each batch size: errors of Lambda and of the gradient."""
    from matplotlib.figure import Figure

    batches = sorted({row["batch"] for row in rows})
    figure = Figure(figsize=(3.2 * len(batches), 5.5), layout="constrained")
    grid = figure.subplots(2, len(batches), squeeze=False, sharey="row")
    for column, batch in zip(grid.T, batches, strict=True):
        own = [row for row in rows if row["batch"] == batch]
        stages = [row["stage"] for row in own]
        for axes, kind in zip(
            column, ("moment_error", "gradient_error"), strict=True
        ):
            for name in own[0][kind]:
                values = [row[kind][name] for row in own]
                color = f"C{NAMES.index(name)}"
                axes.plot(stages, values, "o-", color=color, label=name)
        column[0].set_title(f"B = {batch}")
    grid[0][0].set_ylabel("error of Lambda, relative")
    grid[1][0].set_ylabel("error of the gradient, spectral = 1")
    grid[0][-1].legend(fontsize=8)
    grid[1][-1].legend(fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    app.launch(main)
