"""Accuracy against batch size: MINC, its paper's form, spectral, and others.

    python benchmarks/batch_size.py --data=DIR --minutes=60

DIR has the prepared data sets `cifar10_jpeg` and `tiny_imagenet50`. Every cell
sees the same number of images with the same small encoder. A cell that is in
`benchmarks/results/batch_size.json` is not run again, so the grid can be filled
over days, in an order in which what is there at any time is worth having.

Choices are made on a held-out tenth of the training images, at seed 0, by the
mean of kNN and ridge accuracy: the scale (mu, or a temperature) once for a
method, at batch 64, from three; then the learning rate for each method and
batch, from three. Seeds 1 to 3 are trained on all training images and evaluated
once on the test images. `--table` writes what is there, without training.
"""

import contextlib
import itertools
import json
import os
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from record import ROOT, origin

import minc_tf
from minc_tf import data, evaluation
from minc_tf.cli import app

IMAGES = 40_000
DIM, WIDTHS, FILTERS = 128, (512, 128), (16, 32, 64, 128)
CHOICE_BATCH, CHOICE_SEED, SEEDS = 64, 0, (1, 2, 3)
#: Learning rates at batch 64; they grow with the root of the batch.
RATES = (1e-3, 2e-3, 4e-3)
BATCHES = (64, 16, 256, 8, 32, 128, 512)
#: The argument of `minc_tf.build` that sets the scale, its values, and others.
METHODS = {
    "minc": ("minc", "mu", (5.0, 10.0, 20.0), {"triangular": False}),
    "spectral": ("spectral", "mu", (5.0, 10.0, 20.0), {}),
    "minc_paper": (
        "minc",
        "mu",
        (5.0, 10.0, 20.0),
        {
            "triangular": False,
            "tracking": "mean",
            "rate": 0.3,
            "self_pairs": True,
        },
    ),
    "simclr": ("simclr", "temperature", (0.2, 0.35, 0.5), {}),
    "vicreg": ("vicreg", "covariance_weight", (0.5, 1.0, 2.0), {}),
    "byol": ("byol", "target_momentum", (0.9, 0.97, 0.99), {}),
    # A run has few steps, so that the target has to follow fast.
    "tico": ("tico", "rho", (4.0, 8.0, 20.0), {"target_momentum": 0.9}),
}
#: Data set, methods and batches of each part, in the order of the work.
PARTS = (
    ("cifar10_jpeg", ("minc", "spectral"), BATCHES),
    ("cifar10_jpeg", ("minc_paper",), BATCHES),
    ("tiny_imagenet50", ("minc", "spectral"), (64, 16, 256)),
    ("cifar10_jpeg", ("simclr", "vicreg", "byol", "tico"), (64, 16, 256)),
)

_DATA = flags.DEFINE_string("data", None, "Folder of prepared data sets.")
_MINUTES = flags.DEFINE_float("minutes", 0.0, "No cell is begun after these.")
_TABLE = flags.DEFINE_bool("table", False, "Writes table and picture only.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)


def main(_) -> None:
    """Runs cells that are missing, and writes the table."""
    record = pathlib.Path(_RESULTS.value) / "batch_size.json"
    cells = json.loads(record.read_text()) if record.exists() else {}
    end = time.monotonic() + 60.0 * _MINUTES.value
    while not _TABLE.value and time.monotonic() < end:
        cell = next_cell(cells)
        if cell is None:
            break
        row = run(**cell)
        cells[key(**cell)] = row
        write(record, json.dumps(cells, indent=1) + "\n")
        print(key(**cell), row, flush=True)
    write(record.with_suffix(".md"), table(cells))
    write_chart(record.with_suffix(".png"), cells)


def key(dataset, method, batch, scale, rate, seed) -> str:
    """The name of a cell in the record."""
    return f"{dataset} {method} B={batch} scale={scale} lr={rate:.3g} s={seed}"


def next_cell(cells: dict) -> dict | None:
    """The first cell that is missing, or None."""
    for dataset, methods, batches in PARTS:
        for cell in itertools.chain.from_iterable(
            plan(cells, dataset, method, batch)
            for batch in batches
            for method in methods
        ):
            if key(**cell) not in cells:
                return cell
    return None


def plan(cells, dataset, method, batch):
    """The cells of a method at a batch, each known once those before it are."""
    yield from scale_trials(dataset, method)
    scale = best(cells, scale_trials(dataset, method), "scale")
    yield from rate_trials(dataset, method, batch, scale)
    rate = best(cells, rate_trials(dataset, method, batch, scale), "rate")
    for seed in SEEDS:
        yield _cell(dataset, method, batch, scale, rate, seed)


def scale_trials(dataset, method) -> list[dict]:
    """One cell a scale, at the middle learning rate."""
    return [
        _cell(dataset, method, CHOICE_BATCH, scale, RATES[1], CHOICE_SEED)
        for scale in METHODS[method][2]
    ]


def rate_trials(dataset, method, batch, scale) -> list[dict]:
    """One cell a learning rate."""
    factor = (batch / CHOICE_BATCH) ** 0.5
    return [
        _cell(dataset, method, batch, scale, rate * factor, CHOICE_SEED)
        for rate in RATES
    ]


def _cell(dataset, method, batch, scale, rate, seed):
    return {
        "dataset": dataset,
        "method": method,
        "batch": batch,
        "scale": scale,
        "rate": rate,
        "seed": seed,
    }


def best(cells, trials, name):
    """What the best of the trials has under a name, all of them being run."""
    return max(trials, key=lambda cell: score(cells[key(**cell)]))[name]


def score(row: dict) -> float:
    """What choices go by."""
    return (row["knn"] + row["ridge"]) / 2.0


def run(dataset, method, batch, scale, rate, seed) -> dict:
    """Trains and evaluates one cell."""
    keras.utils.set_random_seed(seed)
    train, test = sources(dataset, held_out=seed == CHOICE_SEED)
    size = train.images.shape[1]
    model = build(method, scale, size)
    steps = IMAGES // batch
    schedule = minc_tf.optimizers.warmup_cosine(
        rate, steps=steps, warmup_steps=steps // 20
    )
    model.compile(keras.optimizers.AdamW(schedule, weight_decay=0.05))
    start = time.perf_counter()
    model.fit(
        view_batches(train, batch, size, seed),
        steps_per_epoch=steps,
        callbacks=[keras.callbacks.TerminateOnNaN()],
        shuffle=False,
        verbose=0,
    )
    seconds = time.perf_counter() - start
    weights = model.encoder.get_weights()
    diverged = not all(np.all(np.isfinite(each)) for each in weights)
    found = {"knn": 0.0, "ridge": 0.0}
    if not diverged:
        found = accuracies(model.encoder, train, test)
    keras.backend.clear_session()
    return {
        **found,
        "diverged": diverged,
        "images": IMAGES,
        "seconds": round(seconds, 1),
        **origin(),
    }


def build(method, scale, size):
    """The model of a method, on an encoder that is always the same."""
    name, argument, _, others = METHODS[method]
    encoder = minc_tf.models.small_resnet(
        filters=FILTERS, image_shape=(size, size, 3)
    )
    return minc_tf.build(
        name, encoder, projector_widths=WIDTHS, **{argument: scale}, **others
    )


def sources(dataset, held_out):
    """Training and test images, or training images without and of a tenth."""
    train = arrays(dataset, "train")
    if not held_out:
        return train, arrays(dataset, "test")
    order = np.random.default_rng(0).permutation(len(train))
    tenth = len(train) // 10
    return part(train, order[tenth:]), part(train, order[:tenth])


def part(source, rows):
    """Some of the images of a source in memory."""
    return data.ArraySource(source.images[rows], source.labels[rows])


def arrays(dataset, split, _known={}):  # noqa: B006 - decoded once a process
    """A split, decoded into memory."""
    if (dataset, split) not in _known:
        source = data.load(dataset, split, data_dir=_DATA.value)
        found = list(data.eval_batches(source, 1000).as_numpy_iterator())
        images = np.concatenate([each["image"] for each in found])
        labels = np.concatenate([each["label"] for each in found])
        source = data.ArraySource(images.astype("uint8"), labels)
        _known[dataset, split] = source
    return _known[dataset, split]


def view_batches(train, batch, size, seed):
    """Batches of views; small ones are cut from larger ones, to save time."""
    presets = minc_tf.augment.presets.simclr(
        size, strength=0.5, blur=False, area=(0.2, 1.0)
    )
    views = minc_tf.augment.MultiView(presets, size=size)
    parts = max(1, 256 // batch)
    whole = data.view_batches(train, views, parts * batch, seed=seed)

    def cut(*views):
        shape = (parts, batch, size, size, 3)
        cut = tuple(tf.reshape(view, shape) for view in views)
        return tf.data.Dataset.from_tensor_slices(cut)

    return whole.flat_map(cut).prefetch(4)


def accuracies(encoder, train, test) -> dict:
    """KNN (k = 20) and ridge accuracy of the features, in %."""
    features = [
        evaluation.extract(encoder, data.eval_batches(source, 500))
        for source in (train, test)
    ]
    knn = evaluation.knn_accuracy(*features[0], *features[1], k=20)
    ridge = evaluation.ridge_accuracy(*features[0], *features[1])
    return {
        "knn": round(100.0 * knn, 2),
        "ridge": round(100.0 * ridge["accuracy"], 2),
    }


def finals(cells: dict) -> dict:
    """Rows on the test split by (data set, method, batch), where any are."""
    found = {}
    for dataset, methods, batches in PARTS:
        for method, batch in itertools.product(methods, batches):
            with contextlib.suppress(KeyError):
                rows = [
                    cells[key(**cell)]
                    for cell in plan(cells, dataset, method, batch)
                    if cell["seed"] in SEEDS and key(**cell) in cells
                ]
                if rows:
                    found[dataset, method, batch] = rows
    return found


def interval(values) -> tuple[float, float]:
    """Mean and half of its 95 % interval (Student's t; nan for one value)."""
    from scipy import stats

    values = np.asarray(values)
    if len(values) < 2:
        return values.mean(), float("nan")
    spread = values.std(ddof=1) / len(values) ** 0.5
    return values.mean(), spread * stats.t.ppf(0.975, len(values) - 1)


def table(cells: dict) -> str:
    """What is there, as Markdown: mean and half-interval of kNN and ridge."""
    lines = [
        "| data | method | B | kNN | ridge | seeds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (dataset, method, batch), rows in sorted(finals(cells).items()):
        shown = []
        for name in ("knn", "ridge"):
            mean, half = interval([row[name] for row in rows])
            shown.append(f"{mean:.1f} ± {half:.1f}")
        shown.append(str(len(rows)))
        lines.append(
            f"| {dataset} | `{method}` | {batch} | {' | '.join(shown)} |"
        )
    trials = sum(" s=0" in name for name in cells)
    diverged = sum(row["diverged"] for row in cells.values())
    lines += [
        "",
        f"{len(cells)} cells of {IMAGES:,} images, {trials} of them trials on "
        f"held-out training images; {diverged} diverged.",
    ]
    return "\n".join(lines) + "\n"


def write_chart(path, cells: dict) -> None:
    """Accuracy against batch size, a line a method, a panel a data set."""
    from matplotlib.figure import Figure

    rows = finals(cells)
    datasets = sorted({dataset for dataset, _, _ in rows})
    if not datasets:
        return
    figure = Figure(figsize=(4.5 * len(datasets), 3.6), layout="constrained")
    panels = figure.subplots(1, len(datasets), squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        for method in METHODS:
            batches = sorted(
                b for d, m, b in rows if (d, m) == (dataset, method)
            )
            if not batches:
                continue
            found = [
                interval([score(row) for row in rows[dataset, method, batch]])
                for batch in batches
            ]
            means, halves = zip(*found, strict=True)
            axes.errorbar(batches, means, halves, label=method, capsize=3)
        axes.set_xscale("log", base=2)
        axes.set_xlabel("pairs in a batch")
        axes.set_title(dataset)
        axes.legend()
    panels[0].set_ylabel("mean of kNN and ridge accuracy, %")
    figure.savefig(path, dpi=120)


def write(path: pathlib.Path, text: str) -> None:
    """Writes a file in one step: a run may be ended at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)


if __name__ == "__main__":
    app.launch(main)
