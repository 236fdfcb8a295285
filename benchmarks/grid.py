"""Cells of a grid of short pretraining runs: trained, evaluated, recorded.

What `batch_size.py`, `shapes.py` and `width.py` share. A cell is a dict of a
data set, a method, a batch, a scale (mu, or a temperature), a learning rate, a
seed, the width of the encoder and the number of images that it sees; its row is
in a JSON record under its name. A cell with a row is not run again.
"""

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from record import origin

import minc_tf
from minc_tf import data, evaluation
from minc_tf.models.assembly import assemble
from minc_tf.models.methods import find_method

IMAGES = 40_000
DIM, WIDTHS, FILTERS = 128, (512, 128), (16, 32, 64, 128)
#: Of the embedded shapes: channels, views, counts of pictures.
SHAPES = "shapes"
SHAPES_FILTERS, SHAPES_VIEWS = (32, 64, 128), {"area": (0.5, 1.0), "hue": 0.0}
VIEWS = {"area": (0.2, 1.0)}
SHAPES_IMAGES = {"train": 10_000, "test": 3_000}
CHOICE_BATCH, CHOICE_SEED, SEEDS = 64, 0, (1, 2, 3)
#: Learning rates at batch 64; they grow with the root of the batch.
RATES = (2e-3, 4e-3, 8e-3)
#: The argument of `minc_tf.build` that sets the scale, its values, and others.
METHODS = {
    "minc": ("minc", "mu", (5.0, 10.0, 20.0), {"triangular": False}),
    "spectral": ("spectral", "mu", (5.0, 10.0, 20.0), {}),
    "minc_floor_03": (
        "minc",
        "mu",
        (5.0, 10.0, 20.0),
        {"triangular": False, "floor": 0.3},
    ),
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
    "minc_batch": (
        "minc",
        "mu",
        (5.0, 10.0, 20.0),
        {
            "triangular": False,
            "tracking": "mean",
            "rate": 1.0,
            "self_pairs": True,
        },
    ),
    "simclr": ("simclr", "temperature", (0.2, 0.35, 0.5), {}),
    "vicreg": ("vicreg", "covariance_weight", (0.5, 1.0, 2.0), {}),
    "byol": ("byol", "target_momentum", (0.9, 0.97, 0.99), {}),
    "tico": ("tico", "rho", (4.0, 8.0, 20.0), {"target_momentum": 0.9}),
}

#: Methods above under the projector's last layer of another: MINC's has a bias,
#: the spectral loss's batch normalisation.
HEADS = {"minc_spectral_head": "spectral", "spectral_minc_head": "minc"}
for _name, _other in HEADS.items():
    METHODS[_name] = METHODS[_name.partition("_")[0]]

_DATA = flags.DEFINE_string("data", None, "Folder of prepared data sets.")
_ONLY = flags.DEFINE_list(
    "methods", [], "Only cells of these: a process a core, each with some."
)
_MINUTES = flags.DEFINE_float("minutes", 0.0, "No cell is begun after these.")


def fill(record: pathlib.Path, plan: Callable) -> dict:
    """Runs cells that are missing, in the order of a plan; returns all rows.

    Args:
        record: the JSON file, which is replaced after each cell.
        plan: function from the rows by name to an iterator of cells. It may
            look at the rows of the cells that it has given before.
    """
    cells = read(record)
    end = time.monotonic() + 60.0 * _MINUTES.value
    while time.monotonic() < end:
        missing = (cell for cell in plan(cells) if key(**cell) not in cells)
        cell = next(missing, None)
        if cell is None:
            break
        row = run(**cell)
        cells = {**read(record), key(**cell): row}
        write(record, json.dumps(cells, indent=1) + "\n")
        print(key(**cell), row, flush=True)
    return cells


def read(record: pathlib.Path) -> dict:
    """The rows that are there, those of other processes among them."""
    return json.loads(record.read_text()) if record.exists() else {}


def wanted(method: str) -> bool:
    """Whether this process runs cells of a method."""
    return not _ONLY.value or method in _ONLY.value


def key(
    dataset, method, batch, scale, rate, seed, width=1.0, images=IMAGES
) -> str:
    """The name of a cell in the record."""
    name = f"{dataset} {method} B={batch} scale={scale} lr={rate:.3g} s={seed}"
    name = name if width == 1.0 else f"{name} w={width}"
    return name if images == IMAGES else f"{name} n={images}"


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


def run(
    dataset, method, batch, scale, rate, seed, width=1.0, images=IMAGES
) -> dict:
    """Trains and evaluates one cell."""
    keras.utils.set_random_seed(seed)
    train, test = sources(dataset, held_out=seed == CHOICE_SEED)
    size = train.images.shape[1]
    filters = SHAPES_FILTERS if dataset == SHAPES else FILTERS
    model = build(method, scale, size, [int(width * n) for n in filters])
    steps = images // batch
    schedule = minc_tf.optimizers.warmup_cosine(
        rate, steps=steps, warmup_steps=steps // 20
    )
    model.compile(keras.optimizers.AdamW(schedule, weight_decay=0.05))
    start = time.perf_counter()
    model.fit(
        view_batches(dataset, train, batch, seed),
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
        if METHODS[method][1] == "mu":
            found |= norms(model, test, scale)
    keras.backend.clear_session()
    return {
        **found,
        "diverged": diverged,
        "images": images,
        "seconds": round(seconds, 1),
        **origin(),
    }


def build(method, scale, size, filters):
    """The model of a method, on an encoder that is always the same."""
    name, argument, _, others = METHODS[method]
    encoder = minc_tf.models.small_resnet(
        filters=filters, image_shape=(size, size, 3)
    )
    arguments = {argument: scale, **others}
    if method not in HEADS:
        return minc_tf.build(
            name, encoder, projector_widths=WIDTHS, **arguments
        )
    parts = find_method(name).parts(WIDTHS, **arguments)
    parts["projector"] = find_method(HEADS[method]).parts(WIDTHS)["projector"]
    return assemble(encoder, **parts)


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
        where = {"data_dir": _DATA.value}
        if dataset == SHAPES:
            where = {"num_examples": SHAPES_IMAGES[split]}
        source = data.load(dataset, split, **where)
        found = list(data.eval_batches(source, 1000).as_numpy_iterator())
        images = np.concatenate([each["image"] for each in found])
        labels = np.concatenate([each["label"] for each in found])
        source = data.ArraySource(images.astype("uint8"), labels)
        _known[dataset, split] = source
    return _known[dataset, split]


def view_batches(dataset, train, batch, seed):
    """Batches of views; small ones are cut from larger ones, to save time."""
    size = train.images.shape[1]
    presets = minc_tf.augment.presets.simclr(size, strength=0.5, blur=False)
    changes = SHAPES_VIEWS if dataset == SHAPES else VIEWS
    presets = [dataclasses.replace(each, **changes) for each in presets]
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


def norms(model, source, mu) -> dict:
    """How raw embeddings of 2,000 images stand to the bound sqrt(mu).

    `above`: the share beyond it, in %, which feels no radial force; `largest`:
    the largest norm, in bounds; effective ranks of the second moment before
    (`raw_rank`) and after (`rank`) the clip.
    """
    batches = data.eval_batches(source, 500).take(4)
    raw = np.concatenate(
        [
            np.asarray(model(batch["image"], training=False), "float64")
            for batch in batches.as_numpy_iterator()
        ]
    )
    beyond = np.linalg.norm(raw, axis=1, keepdims=True) / mu**0.5
    return {
        "above": round(100.0 * float(np.mean(beyond > 1.0)), 1),
        "largest": round(float(beyond.max()), 2),
        "raw_rank": round(effective_rank(raw), 1),
        "rank": round(effective_rank(raw / np.maximum(beyond, 1.0)), 1),
    }


def effective_rank(embeddings) -> float:
    """`tr(M)^2 / ||M||_F^2` of the second moment M."""
    moment = embeddings.T @ embeddings
    return float(np.trace(moment) ** 2 / np.sum(moment**2))


def listed(cells: dict, plan, columns: dict) -> str:
    """A Markdown table of the cells of a plan that have rows.

    `columns`: by their heads, the names of what is shown, of a cell or its row.
    """
    lines = [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for cell in plan:
        row = cells.get(key(**cell))
        if row:
            found = [{**row, **cell}[name] for name in columns.values()]
            texts = [
                f"{x:.1f}" if isinstance(x, float) else str(x) for x in found
            ]
            lines.append(f"| {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def interval(values) -> tuple[float, float]:
    """Mean and half of its 95 % interval (Student's t; nan for one value)."""
    from scipy import stats

    values = np.asarray(values)
    if len(values) < 2:
        return values.mean(), float("nan")
    spread = values.std(ddof=1) / len(values) ** 0.5
    return values.mean(), spread * stats.t.ppf(0.975, len(values) - 1)


def shown(rows: list[dict]) -> str:
    """Cells of a table: kNN and ridge accuracy of some seeds, and how many."""
    found = []
    for name in ("knn", "ridge"):
        mean, half = interval([row[name] for row in rows])
        one = len(rows) == 1
        found.append(f"{mean:.1f}" if one else f"{mean:.1f} ± {half:.1f}")
    return " | ".join([*found, str(len(rows))])


def write(path: pathlib.Path, text: str) -> None:
    """Writes a file in one step: a run may be ended at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)
