"""Recall of searches in stages, against what they cost.

    python benchmarks/search.py --data=DIR

Collections are the MINC embeddings of training images, queries those of test
images (`search_vectors.py`); `views` are random views of CIFAR-10's training
images. Compared are the first k coordinates, the best `kept` of them again by
all: of the embedding in order (by training, and by the rotation of an export),
of its principal axes, and of the network's own coordinates, which have no
order; and FAISS's product quantisation, with and without inverted lists, whose
codes take as many bytes, reranked in the same way. Recall is the part of the 10
nearest by cosine over all coordinates that is found. Multiply-adds are counted;
a look-up in a table of PQ counts as one. Milliseconds are of one core's time.
Writes `search.json`, `search.md` and `search.png` in `benchmarks/results`.
"""

import json
import pathlib
import shlex
import time

import faiss
import numpy as np
import search_vectors
from absl import flags
from grid import write
from record import ROOT, origin

from minc_tf.cli import app
from minc_tf.search import FunnelIndex
from minc_tf.search.nearest import closest_of, nearest
from minc_tf.search.unit import unit_rows

K = 10
#: Coordinates of the first stage, and how many vectors it keeps.
SETTINGS = ((4, 200), (8, 200), (16, 50), (16, 200), (16, 1000), (32, 200))
THREE = (((8, 1000), (32, 100)), ((4, 2000), (16, 200)))
#: Bytes of a code, as many as 4, 8 and 16 coordinates of float32.
BYTES = (16, 32, 64)
LISTS, PROBES, IVF_KEPT = 256, (8, 32), 200
TICKS = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5)
#: Vectors a centroid that train a code.
POINTS = 64
NAMES = {
    "triangular": "MINC, ordered by training",
    "rotation": "MINC, ordered by rotation",
    "inner": "the same, cut vectors of any norm",
    "pca": "principal axes",
    "unordered": "no order",
    "pq": "FAISS PQ",
    "ivfpq": "FAISS IVF-PQ",
    "ivf": "FAISS IVF, all coordinates",
}

_FOLDER = flags.DEFINE_string(
    "folder", str(ROOT / "runs/search"), "Where vectors are kept."
)
_COLLECTIONS = flags.DEFINE_list(
    "collections", ["cifar10_jpeg", "tiny_imagenet50", "views"], "Which."
)
_VIEWS = flags.DEFINE_integer("views", 100_000, "How many views.")
_QUERIES = flags.DEFINE_integer("queries", 500, "How many queries.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)


def main(_) -> None:
    """Measures every collection that is not in the record yet."""
    faiss.omp_set_num_threads(1)
    results = pathlib.Path(_RESULTS.value)
    path = results / "search.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    for name in _COLLECTIONS.value:
        shown = f"{name}_{_VIEWS.value}" if name == "views" else name
        if shown in record:
            continue
        rows, about = measured(name)
        about |= origin()
        about["command"] = hidden(about["command"])
        record[shown] = {"rows": rows, **about}
        write(path, json.dumps(record, indent=1) + "\n")
    write(results / "search.md", table(record))
    draw(record, results / "search.png")


def hidden(command):
    """A command without the folders of one machine."""
    words = shlex.split(command)
    for name in ("--data", "--folder", "--results"):
        words = [
            f"{name}=DIR" if word.startswith(f"{name}=") else word
            for word in words
        ]
    return shlex.join(words)


def measured(collection) -> tuple[list[dict], dict]:
    """The rows of a collection, and what it is."""
    folder = pathlib.Path(_FOLDER.value)
    dataset = "cifar10_jpeg" if collection == "views" else collection
    rows = []
    for form in search_vectors.FORMS:
        if collection == "views" and form == "triangular":
            continue
        found = search_vectors.splits(dataset, form, folder)
        x, queries = found["train"], found["test"][: _QUERIES.value]
        if collection == "views":
            x = search_vectors.views(dataset, form, _VIEWS.value, folder)
        x, queries = unit_rows("x", x), unit_rows("queries", queries)
        exact = FunnelIndex(x, stages=[]).search(queries, K).rows
        rows += funnels(form, x, queries, exact, "given")
        if form == "triangular":
            continue
        rows += exact_row(x, queries)
        rows += funnels("pca", x, queries, exact, "pca")
        rows += by_inner_product(x, queries, exact)
        rows += quantised(x, queries, exact)
        if "train_raw" in found and collection != "views":
            raw = found["test_raw"][: _QUERIES.value]
            rows += funnels(
                "unordered", found["train_raw"], raw, exact, "given"
            )
    about = {
        "vectors": len(x),
        "dimension": x.shape[1],
        "queries": len(queries),
    }
    return rows, about


def exact_row(x, queries):
    """An exact search, by FAISS."""
    index = FunnelIndex(x, stages=[])
    ms, _ = timed(lambda: index.search(queries, K, engine="faiss"), queries)
    cost = index.multiply_adds()
    return [row("exact", "", 1.0, cost, ms, 4 * x.shape[1], cost)]


def funnels(method, x, queries, exact, order):
    """Rows of searches in two stages, and for ordered ones in three."""
    whole = x.shape[0] * x.shape[1]
    stages = [[setting] for setting in SETTINGS]
    if method != "unordered":
        stages += map(list, THREE)
    found = []
    for each in stages:
        index = FunnelIndex(x, stages=each, order=order)
        ms, rows = timed(
            lambda index=index: index.search(queries, K, engine="faiss").rows,
            queries,
        )
        shown = ", ".join(f"{dim}: {kept}" for dim, kept in each)
        cost = index.multiply_adds()
        if order == "pca":  # the query is turned first
            cost += x.shape[1] ** 2
        found.append(
            row(
                method,
                shown,
                recall(rows, exact),
                cost,
                ms,
                4 * each[0][0],
                whole,
            )
        )
    return found


def by_inner_product(x, queries, exact):
    """Rows of first stages that do not make cut vectors unit vectors."""
    found = []
    for dim, kept in SETTINGS:
        first = np.ascontiguousarray(x[:, :dim])
        cut = np.ascontiguousarray(queries[:, :dim])
        rows = nearest(first, cut, kept, "faiss")
        _, rows = closest_of(x, queries, rows, K)
        cost = len(x) * dim + kept * x.shape[1]
        found.append(
            row(
                "inner",
                f"{dim}: {kept}",
                recall(rows, exact),
                cost,
                None,
                4 * dim,
                x.size,
            )
        )
    return found


def quantised(x, queries, exact):
    """Rows of FAISS's quantised indexes, the best reranked by all."""
    padding = ((0, 0), (0, -x.shape[1] % max(BYTES)))
    wide, asked = np.pad(x, padding), np.pad(queries, padding)
    count, dim = wide.shape
    found, product = [], faiss.METRIC_INNER_PRODUCT

    def add(method, setting, index, kept, cost, bytes_each):
        def search():
            if not kept:
                return index.search(asked, K)[1]
            _, rows = index.search(asked, kept)
            # Too few were in the lists that were looked into.
            rows = np.where(rows < 0, np.arange(kept) % count, rows)
            return closest_of(x, queries, rows, K)[1]

        ms, rows = timed(search, queries)
        found.append(
            row(
                method,
                setting,
                recall(rows, exact),
                cost + kept * x.shape[1],
                ms,
                bytes_each,
                x.size,
            )
        )

    for size in BYTES:
        index = faiss.IndexPQ(dim, size, 8, product)
        index.pq.cp.max_points_per_centroid = POINTS
        index.train(wide)
        index.add(wide)
        for kept in (0, 50, 200):
            cost = 256 * dim + count * size
            add("pq", f"{size} bytes: {kept}", index, kept, cost, size)
    lists = LISTS * dim
    for probes in PROBES:
        part = probes / LISTS
        flat = faiss.index_factory(dim, f"IVF{LISTS},Flat", product)
        coded = faiss.index_factory(dim, f"IVF{LISTS},PQ32", product)
        coded.pq.cp.max_points_per_centroid = POINTS
        for index in (flat, coded):
            index.train(wide)
            index.add(wide)
            index.nprobe = probes
        cost = int(lists + part * count * dim)
        add("ivf", f"{probes} lists", flat, 0, cost, 4 * x.shape[1] + 8)
        cost = int(lists + 256 * dim + part * count * 32)
        setting = f"{probes} lists, 32 bytes: {IVF_KEPT}"
        add("ivfpq", setting, coded, IVF_KEPT, cost, 40)
    return found


def row(method, setting, found, cost, ms, size, whole):
    """A row of the record; `size` is bytes a vector that are kept in memory."""
    return {
        "method": method,
        "setting": setting,
        "recall": round(float(found), 4),
        "multiply_adds": int(cost),
        "part": round(cost / whole, 4),
        "ms": None if ms is None else round(ms, 3),
        "bytes": size,
    }


def timed(search, queries):
    """Milliseconds of processor time a query, and what was found."""
    start = time.process_time()
    found = search()
    return 1e3 * (time.process_time() - start) / len(queries), found


def recall(rows, exact):
    """The part of the exact neighbours that is found."""
    pairs = zip(rows, exact, strict=True)
    return np.mean([np.isin(right, found).mean() for found, right in pairs])


def table(record) -> str:
    """All rows as Markdown."""
    lines = ["# Search in stages: recall@10 against cost", ""]
    for name, part in record.items():
        lines += [
            f"## {name}: {part['vectors']:,} vectors of {part['dimension']}, "
            f"{part['queries']} queries",
            "",
            f"`{part['command']}`, {part['machine']}, {part['date']}, commit "
            f"`{part['commit']}`.",
            "",
            "| method | setting | recall@10 | multiply-adds, of exact | ms | "
            "bytes a vector |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for each in part["rows"]:
            ms = "" if each["ms"] is None else f"{each['ms']:.2f}"
            method = NAMES.get(each["method"], each["method"])
            lines.append(
                f"| {method} | {each['setting']} | {each['recall']:.3f} | "
                f"{each['part']:.3f} | {ms} | {each['bytes']} |"
            )
        lines.append("")
    return "\n".join(lines)


def draw(record, path):
    """A panel a collection: recall against the part of the multiply-adds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = (4.6 * len(record) + 0.4, 4.4)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(record), squeeze=False)[0]
    for axes, (name, part) in zip(panels, record.items(), strict=True):
        for number, (method, label) in enumerate(NAMES.items()):
            rows = [
                each
                for each in part["rows"]
                if each["method"] == method and each["setting"].count(":") < 2
            ]
            if method == "inner" or not rows:
                continue
            rows.sort(key=lambda each: (each["part"], each["recall"]))
            axes.plot(
                [each["part"] for each in rows],
                [each["recall"] for each in rows],
                marker="o",
                markersize=4,
                linestyle="none" if "pq" in method or method == "ivf" else "-",
                label=label,
                # The same in panels without some of them.
                color=f"C{number}",
            )
        axes.axvline(0.25, color="grey", linewidth=0.8, linestyle=":")
        axes.axhline(0.95, color="grey", linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.set_xticks(TICKS, [f"{tick:.0%}" for tick in TICKS])
        axes.set_xticks([], minor=True)
        axes.set(title=name, xlabel="multiply-adds, of an exact search's")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("recall@10")
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    app.launch(main)
