"""Every method in the demo's setting: shapes, one network, one schedule.

    python benchmarks/methods.py --workdir runs/methods

Trains each method from the same weights on the same views, at most two minutes
each on two free cores, and writes `benchmarks/results/methods.json`, `.md` and
`.png`: kNN accuracy of the frozen features before and after, the spread of the
embeddings, what the collapse alarm said and when, seconds. The last two rows
collapse: SimSiam without its stop-gradient, BYOL with a frozen predictor. A
method whose result is in the workdir is not trained again.

Choices (optimizers, settings of objectives) were made on `--seed=1`, whose
images, training and test, are others; the published table is `--seed=0`.
"""

import json
import pathlib
import time

from absl import flags
from record import ROOT, origin

import minc_tf
from minc_tf import data, evaluation, training
from minc_tf.cli import app
from minc_tf.training import from_settings, tensorflow_images

RECIPE = ROOT / "recipes/shapes/minc.py"
EPOCHS, WIDTHS, HIDDEN = 8, (512, 128), (256,)
WITHOUT_STOP = "simsiam_without_stop_gradient"
FROZEN_PREDICTOR = "byol_with_frozen_predictor"
#: What is meant to collapse, and the method that it is made of.
COLLAPSED = {WITHOUT_STOP: "simsiam", FROZEN_PREDICTOR: "byol"}

_SGD = {
    "name": "sgd",
    "scale_with_batch": False,
    "warmup_epochs": 1,
    "momentum": 0.9,
}
_BYOL = {
    "optimizer": {**_SGD, "learning_rate": 0.1, "weight_decay": 5e-3},
    "target": {"momentum": 0.9},
}
_MINC = {"objective": {"triangular": False}}

#: What differs from the method's own settings and the recipe's optimizer.
SETTINGS = {
    "minc": _MINC,
    "minc_target": {**_MINC, "target": {"momentum": 0.9}},
    "spectral": {"objective": {"mu": 10.0}},
    "byol": _BYOL,
    "linear_byol": _BYOL,
    "simsiam": {
        "optimizer": {**_SGD, "learning_rate": 0.3, "weight_decay": 1e-3}
    },
    "mio_improved": {
        "objective": {"positive_temperature": 0.2, "negative_temperature": 0.1}
    },
    "vicreg_exp": {"objective": {"covariance_weight": 5.0}},
    "vicreg_ctr": {"objective": {"covariance_weight": 5.0, "temperature": 0.5}},
}

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the parts.")
_METHODS = flags.DEFINE_list("methods", None, "Names; all by default.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of images, views and weights.")
_EPOCHS = flags.DEFINE_integer("epochs", EPOCHS, "Epochs of 10,000 images.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the table."
)
flags.mark_flag_as_required("workdir")


class WithoutStopGradient(minc_tf.TwoViewModel):
    """A model whose targets carry a gradient too."""

    def embed_target(self, images, embeddings, training):
        """The embeddings themselves."""
        return embeddings


def main(_) -> None:
    """Trains what has no result yet, and writes the table."""
    names = _METHODS.value or [*minc_tf.methods(), *COLLAPSED]
    folder = pathlib.Path(_WORKDIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    rows = {}
    for name in names:
        part = folder / f"{name}.json"
        if not part.exists():
            row = {**measure(name), **origin()}
            part.write_text(json.dumps(row, indent=2))
        rows[name] = json.loads(part.read_text())
        print(f"{name:30s} {rows[name]}", flush=True)
    results = pathlib.Path(_RESULTS.value)
    results.mkdir(parents=True, exist_ok=True)
    record = {"epochs": _EPOCHS.value, "rows": rows}
    (results / "methods.json").write_text(json.dumps(record, indent=2) + "\n")
    (results / "methods.md").write_text(table(rows))
    write_chart(results / "methods.png", rows)


def measure(name: str) -> dict:
    """Trains one method; returns its row."""
    config = training.load_recipe(RECIPE)
    config.seed, config.epochs = _SEED.value, _EPOCHS.value
    method = COLLAPSED.get(name, name)
    changes = SETTINGS.get(method, {})
    training.use_method(config, method, **changes.get("objective", {}))
    training.set_widths(config, WIDTHS, HIDDEN)
    if "optimizer" in changes:
        rate = config.optimizer.predictor_rate
        config.optimizer = {**changes["optimizer"], "predictor_rate": rate}
    config.target.update(changes.get("target", {}))
    training.validate(config)
    model = from_settings.build_model(config)
    if name == WITHOUT_STOP:
        model = WithoutStopGradient(
            model.encoder, model.projector, model.objective, model.predictor
        )
    if name == FROZEN_PREDICTOR:
        model.predictor.trainable = False
    train, _, _ = tensorflow_images.load_sources(config)
    steps = len(train) // config.batch_size
    model.target_momentum = from_settings.target_momentum(config, steps)
    model.compile(from_settings.build_optimizer(config, steps, model))
    batches = [
        data.eval_batches(source, 256)
        for source in tensorflow_images.load_evaluation_sources(config)
    ]
    before = accuracy(model.encoder, batches)
    watched = data.eval_batches(train.subset(1024, seed=0), 256)
    monitor = evaluation.CollapseMonitor(watched)
    alarm = evaluation.CollapseAlarm(next(iter(watched))["image"])
    start = time.perf_counter()
    history = model.fit(
        data.view_batches(
            train,
            tensorflow_images.build_views(config),
            config.batch_size,
            seed=config.seed,
        ),
        steps_per_epoch=steps,
        epochs=config.epochs,
        callbacks=[monitor, alarm],
        shuffle=False,
        verbose=0,
    ).history
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "knn_untrained": before,
        "knn": accuracy(model.encoder, batches),
        "embedding_std": round(history["embedding_std"][-1], 4),
        "embedding_rank": round(history["embedding_rank"][-1], 2),
        "collapsed": monitor.reason,
        "alarm": alarm.cause,
        "alarm_step": alarm.step,
        "loss": history["loss"][-1],
        "objective": config.objective.to_dict(),
        "optimizer": config.optimizer.to_dict(),
        "target": config.target.to_dict(),
    }


def accuracy(encoder, batches) -> float:
    """KNN accuracy (k = 20) of an encoder's features, in %."""
    train, test = (evaluation.extract(encoder, part) for part in batches)
    return round(100 * evaluation.knn_accuracy(*train, *test, k=20), 2)


def table(rows: dict) -> str:
    """The rows as a table in Markdown, best first."""
    lines = [
        "| method | kNN | gain | spread | rank | alarm at step | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in sorted(rows.items(), key=lambda item: -item[1]["knn"]):
        gain = row["knn"] - row["knn_untrained"]
        lines.append(
            f"| `{name}` | {row['knn']:.1f} | {gain:+.1f} | "
            f"{row['embedding_std']:.2f} | {row['embedding_rank']:.1f} | "
            f"{row['alarm_step'] or 'none'} | {row['seconds']:.0f} |"
        )
    found = [
        f"`{name}` has collapsed: {row['collapsed']}."
        for name, row in rows.items()
        if row["collapsed"]
    ]
    found += [
        f"The alarm of `{name}`, at step {row['alarm_step']}: {row['alarm']}."
        for name, row in rows.items()
        if row["alarm"]
    ]
    return "\n".join([*lines, *(f"\n{line}" for line in found)]) + "\n"


def write_chart(path, rows: dict) -> None:
    """A bar a method, and a line where the untrained encoder is."""
    from matplotlib.figure import Figure

    ordered = sorted(rows, key=lambda name: rows[name]["knn"])
    figure = Figure(figsize=(7, 0.27 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    colors = ["#b0b0b0" if n in COLLAPSED else "#4878a8" for n in ordered]
    axes.barh(ordered, [rows[n]["knn"] for n in ordered], color=colors)
    untrained = next(iter(rows.values()))["knn_untrained"]
    axes.axvline(untrained, color="black", linestyle="--", linewidth=1)
    axes.annotate(
        "untrained",
        (untrained, -0.9),
        textcoords="offset points",
        xytext=(3, 0),
        fontsize=8,
    )
    axes.set_xlabel("kNN accuracy of the features on shapes, in %")
    axes.set_xlim(0, 100)
    axes.margins(y=0.01)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    app.launch(main)
