"""Time and memory of objectives against batch size and dimension.

    python benchmarks/scaling.py

Loss and gradient with respect to the embeddings, of MINC, the spectral loss as
the library has it, the spectral loss with its full (B, B) matrix as the paper
writes it, NT-Xent and VICReg; B = 256 to 8192 at d = 256, and d = 64 to 2048
at B = 1024. Writes `scaling.json` and `scaling.png` in `benchmarks/results`.
Takes about three minutes on two cores, 4 GiB of memory and Linux. `--quick`
tries everything on two small sizes.

Time: a `tf.function` without XLA. After one call to trace it, the objectives
of a point take turns, one call each, so that a slow moment of the machine hits
all of them; one leaves after `--repeats` calls, or after half a second, but
never before three. What counts is the median. MINC and the full matrix at
B = 4096, d = 256 then take `--repeats` turns of their own.

Memory: each point in a process of its own, in which the same objective has
met 64 pairs before, so that threads and libraries are there. The inputs are
made, freed pages are given back, and the kernel's record of the largest
resident memory is reset (5 to `/proc/self/clear_refs`). The figure is that
record after two calls less the resident memory before them: the graph, 5 to
10 MiB, and all results with the gradients, but not the inputs.

Growth: the exponent p of `size^p`, by least squares of the logarithms over
the upper half of the sizes, where the overhead of a call no longer rules.
"""

import ctypes
import gc
import json
import math
import multiprocessing
import os
import pathlib
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

# Before TensorFlow starts.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import psutil
import tensorflow as tf
from absl import flags
from keras import ops
from record import ROOT, origin

from minc_tf import objectives
from minc_tf.cli import app

FULL = "Spectral, B x B"
#: The dimension while the batch grows, and the batch while that does.
DIM, BATCH = 256, 1024
HEADLINE_BATCH = 4096
#: How much slower than MINC the full matrix is wanted to be there.
TARGET = 5.0
#: Seconds after which a point has been measured, and calls it needs anyway.
ENOUGH, FEWEST = 0.5, 3

_BATCHES = flags.DEFINE_list(
    "batches", [str(2**n) for n in range(8, 14)], "Batch sizes."
)
_DIMS = flags.DEFINE_list(
    "dims", [str(2**n) for n in range(6, 12)], "Dimensions."
)
_REPEATS = flags.DEFINE_integer(
    "repeats", 50, "Most calls of an objective at a point.", lower_bound=FEWEST
)
_QUICK = flags.DEFINE_bool(
    "quick", False, "Two small sizes each; nothing is written without --out."
)
_OUT = flags.DEFINE_string(
    "out", None, "Folder of the record; benchmarks/results by default."
)


class FullSpectral(objectives.Objective):
    """The spectral contrastive loss with its matrix of all products."""

    def compute(self, z1, z2, training, sample_weight):
        """Returns the loss."""
        return full_matrix_loss(z1, z2)


def full_matrix_loss(z1, z2):
    """Spectral contrastive loss, pair by pair: O(B^2 d).

    `-(2/B) sum_i z1_i.z2_i + 1/(B (B-1)) sum_{i != j} (z1_i.z2_j)^2`

    Args:
        z1: float tensor (B, d), B known.
        z2: float tensor (B, d).

    Returns:
        Scalar tensor.
    """
    batch = z1.shape[0]
    positives = ops.sum(z1 * z2, axis=-1)
    products = ops.matmul(z1, ops.transpose(z2))
    # Cheaper than a mask: the rival of the headline is to be a fast one.
    squares = ops.sum(ops.square(products)) - ops.sum(ops.square(positives))
    return squares / (batch * (batch - 1)) - 2.0 * ops.mean(positives)


#: The objective for embeddings of a dimension, by name.
OBJECTIVES = {
    "MINC": lambda dim: objectives.MINC(dim=dim),
    "SpectralContrastive": lambda dim: objectives.SpectralContrastive(),
    FULL: lambda dim: FullSpectral(),
    "NTXent": lambda dim: objectives.NTXent(),
    "VICReg": lambda dim: objectives.VICReg(),
}


def main(_) -> None:
    """Measures, prints and records."""
    # Of functions traced anew, which is what each point is.
    tf.get_logger().setLevel("ERROR")
    batches = sizes("batches", _BATCHES.value)
    dims = sizes("dims", _DIMS.value)
    repeats, batch = _REPEATS.value, HEADLINE_BATCH
    if _QUICK.value:
        batches, dims, repeats, batch = [128, 256], [32, 64], FEWEST, 256
    check_full_matrix()
    by_batch = sweep([(size, DIM) for size in batches], repeats, memory=True)
    by_dim = sweep([(BATCH, size) for size in dims], repeats, memory=False)
    record = {
        **origin(),
        "headline": headline(batch, DIM, repeats),
        "growth": {
            name: {
                "time_in_batch": growth(*curve(by_batch, name, "seconds")),
                "memory_in_batch": growth(*curve(by_batch, name, "mib")),
                "time_in_dim": growth(*curve(by_dim, name, "seconds", "dim")),
            }
            for name in OBJECTIVES
        },
        "by_batch": by_batch,
        "by_dim": by_dim,
    }
    print(table(record))
    folder = _OUT.value
    if folder is None and not _QUICK.value:
        folder = ROOT / "benchmarks/results"
    if folder is not None:
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=2) + "\n"
        (folder / "scaling.json").write_text(text)
        write_chart(folder / "scaling.png", record)


def sizes(name: str, values: list[str]) -> list[int]:
    """The sizes of a flag, ascending."""
    if not values or not all(v.isdecimal() and int(v) > 1 for v in values):
        raise ValueError(
            f"--{name} must be whole numbers above 1, as in 256,512; "
            f"received {','.join(values)!r}."
        )
    return sorted({int(value) for value in values})


def check_full_matrix() -> None:
    """Raises if the formula here and the library's loss differ."""
    theirs = objectives.SpectralContrastive(mu=None)
    # The library takes one way for small batches and another for large ones.
    for batch, dim in ((16, 32), (64, 8)):
        pair = embeddings(batch, dim)
        found, wanted = float(full_matrix_loss(*pair)), float(theirs(*pair))
        if not math.isclose(found, wanted, rel_tol=1e-5):
            raise ValueError(
                f"{FULL}: the loss of ({batch}, {dim}) embeddings is {found}, "
                f"but SpectralContrastive gives {wanted}."
            )


def embeddings(batch: int, dim: int) -> tuple:
    """Two noisy views of random directions, (batch, dim), of norm one."""
    # By NumPy: what TensorFlow frees it keeps, and `peak_mib` would miss it.
    rng = np.random.default_rng(0)
    views = rng.normal(size=(batch, dim)) + rng.normal(size=(2, batch, dim)) / 2
    views /= np.linalg.norm(views, axis=-1, keepdims=True)
    return tuple(tf.constant(view) for view in views.astype("float32"))


def make_step(name: str, dim: int):
    """A function of two embeddings: the loss and its two gradients."""
    objective = OBJECTIVES[name](dim)

    @tf.function
    def step(z1, z2):
        with tf.GradientTape() as tape:
            tape.watch((z1, z2))
            loss = objective(z1, z2, training=True)
        return loss, tape.gradient(loss, (z1, z2))

    return step


def sweep(points: list[tuple], repeats: int, memory: bool) -> list[dict]:
    """Measures all objectives at (batch, dim) points; one row for each."""
    rows = []
    for batch, dim in points:
        names = [name for name in OBJECTIVES if fits(name, batch, dim)]
        mib = {}
        if memory:
            mib = {name: apart(peak_mib, name, batch, dim) for name in names}
        seconds = interleaved(names, batch, dim, repeats)
        for name in names:
            row = {
                "objective": name,
                "batch": batch,
                "dim": dim,
                "seconds": statistics.median(seconds[name]),
                "calls": len(seconds[name]),
            }
            if memory:
                row["mib"] = round(mib[name], 1)
            rows.append(row)
            print(line(row), flush=True)
    return rows


def fits(name: str, batch: int, dim: int) -> bool:
    """Whether the memory suffices for a point; says so if it does not."""
    entries = {FULL: batch**2, "NTXent": (2 * batch) ** 2}.get(name, 2 * dim**2)
    # More copies of the largest matrix and of the inputs than any makes.
    needed = 4 * (4 * entries + 20 * batch * dim)
    free = psutil.virtual_memory().available
    if needed > free:
        print(
            f"{name} at B = {batch}, d = {dim}: skipped, needs up to "
            f"{needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free",
            flush=True,
        )
    return needed <= free


def interleaved(names, batch: int, dim: int, repeats: int, enough=ENOUGH):
    """Seconds of each call, by name; the objectives take turns."""
    pair = embeddings(batch, dim)
    steps = {name: make_step(name, dim) for name in names}
    for step in steps.values():
        step(*pair)
    seconds = {name: [] for name in names}
    waiting = list(names)
    while waiting:
        for name in waiting:
            start = time.perf_counter()
            steps[name](*pair)[0].numpy()
            seconds[name].append(time.perf_counter() - start)
        waiting = [
            name
            for name in waiting
            if len(seconds[name]) < FEWEST
            or (len(seconds[name]) < repeats and sum(seconds[name]) < enough)
        ]
    return seconds


def headline(batch: int, dim: int, repeats: int) -> dict:
    """MINC against the full matrix, the same number of calls of both."""
    seconds = interleaved(["MINC", FULL], batch, dim, repeats, enough=math.inf)
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    return {
        "batch": batch,
        "dim": dim,
        "median_seconds": medians,
        "ratio": medians[FULL] / medians["MINC"],
        "target": TARGET,
        "seconds": seconds,
    }


def apart(function, *args):
    """Calls a function in a new process."""
    # A plain fork would inherit the memory and the threads of this one.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["minc_tf"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def peak_mib(name: str, batch: int, dim: int) -> float:
    """MiB of loss and gradients, in a process that does nothing else."""
    make_step(name, dim)(*embeddings(64, dim))
    step, pair = make_step(name, dim), embeddings(batch, dim)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = psutil.Process().memory_info().rss
    for _ in range(2):
        step(*pair)
    status = pathlib.Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    return (peak - before) / 2**20


def curve(rows: list[dict], name: str, value: str, size="batch") -> tuple:
    """Sizes and values of one objective."""
    own = [row for row in rows if row["objective"] == name]
    return [row[size] for row in own], [row[value] for row in own]


def growth(xs: list, ys: list) -> float | None:
    """Exponent of a power law through the upper half of the points.

    Args:
        xs: sizes, ascending.
        ys: a positive value for each.

    Returns:
        The slope of the least-squares line through the logarithms of the
        upper half, two points or more; None for fewer than two points.
    """
    if len(xs) < 2:
        return None
    half = max(2, (len(xs) + 1) // 2)
    slope, _ = np.polyfit(np.log(xs[-half:]), np.log(ys[-half:]), 1)
    return round(float(slope), 2)


def line(row: dict) -> str:
    """A row, to be printed."""
    text = f"{row['objective']:20s} B = {row['batch']:5d}, d = {row['dim']:4d}"
    text += f" {1000 * row['seconds']:10.2f} ms"
    return text + (f" {row['mib']:8.1f} MiB" if "mib" in row else "")


def table(record: dict) -> str:
    """The headline, and a table in Markdown of the largest batch and growth."""
    rows = record["by_batch"]
    batch = max((row["batch"] for row in rows), default=0)
    largest = {row["objective"]: row for row in rows if row["batch"] == batch}
    lines = [
        f"| objective | ms at B = {batch} | MiB | time in B | memory in B | "
        "time in d |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, powers in record["growth"].items():
        cells = ["skipped", "skipped"]
        if row := largest.get(name):
            cells = [f"{1000 * row['seconds']:,.1f}", f"{row['mib']:,.0f}"]
        cells += ["" if p is None else f"{p:.2f}" for p in powers.values()]
        lines.append(" | ".join([f"| {name}", *cells]) + " |")
    first = record["headline"]
    times = first["median_seconds"]
    lines.append(
        f"\nB = {first['batch']}, d = {first['dim']}: {FULL} "
        f"{1000 * times[FULL]:.1f} ms, MINC {1000 * times['MINC']:.1f} ms, "
        f"ratio {first['ratio']:.2f} (wanted: {first['target']:.0f})"
    )
    return "\n".join(lines)


def write_chart(path, record: dict) -> None:
    """Time and memory against the batch size, time against the dimension."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    panels = (
        ("by_batch", "batch", "seconds", 1000, f"Time, ms (d = {DIM})"),
        ("by_batch", "batch", "mib", 1, f"Memory, MiB (d = {DIM})"),
        ("by_dim", "dim", "seconds", 1000, f"Time, ms (B = {BATCH})"),
    )
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    for axes, panel in zip(figure.subplots(1, 3), panels, strict=True):
        rows, size, value, scale, title = panel
        for name, marker in zip(OBJECTIVES, "osD^v", strict=True):
            xs, ys = curve(record[rows], name, value, size)
            axes.plot(
                xs,
                [scale * y for y in ys],
                label=name,
                marker=marker,
                markersize=4,
                linewidth=2.2 if name == "MINC" else 1.2,
            )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("batch size B" if size == "batch" else "dimension d")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(sorted({row[size] for row in record[rows]}))
        axes.xaxis.set_major_formatter(plain)
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=5, frameon=False
    )
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    app.launch(main)
