"""Memory and time of the protocols on tables, as the tables grow.

    python benchmarks/streaming.py

Makes vectors of 512 numbers (class means and noise), 100,000 and 1,000,000,
in parts of one row group each, and evaluates both tables by ridge, the linear
probe and kNN, every one in a process of its own; writes
`benchmarks/results/streaming.json` and `.md`. What counts is the most memory
that the process has held: of the larger table at most 1.3 times that of the
smaller. Takes 2.2 GB of the disk, and gives them back.

kNN has 1,000 test vectors. The probe has one strength of the penalty, 0.1: a
choice among several repeats the same passes, more of them for weak ones.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

# Before TensorFlow starts.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl import flags
from record import ROOT, origin, peak_memory_mib

from minc_tf import evaluation
from minc_tf.cli import app
from minc_tf.evaluation.embedding.table import table_schema

PROTOCOLS = {
    "ridge": evaluation.stream_ridge,
    "linear": lambda *pair: evaluation.stream_linear(*pair, l2=0.1),
    "knn": lambda *pair: {"accuracy": evaluation.stream_knn(*pair, k=200)},
}

#: The most that memory of the largest table may be of the smallest's.
TARGET = 1.3

_COUNTS = flags.DEFINE_list("counts", ["100000", "1000000"], "Vectors.")
_DIMENSION = flags.DEFINE_integer("dimension", 512, "Numbers a vector.")
_CLASSES = flags.DEFINE_integer("classes", 20, "Classes.")
_QUERIES = flags.DEFINE_integer("queries", 1000, "Test vectors.")
_PART = flags.DEFINE_integer("part", 50_000, "Vectors a part.")
_FOLDER = flags.DEFINE_string("folder", None, "Where to write them for a time.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the records."
)
_CHILD = flags.DEFINE_string("child", None, "Measure this protocol alone.")


def main(argv) -> None:
    """Makes the tables, measures, and writes the record."""
    if _CHILD.value:
        print(json.dumps(measured(_CHILD.value, *argv[1:])))
        return
    record = {
        **origin(),
        "dimension": _DIMENSION.value,
        "classes": _CLASSES.value,
        "queries": _QUERIES.value,
        "target": TARGET,
        "rows": [],
    }
    with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
        folder = pathlib.Path(folder)
        make(folder / "test", _QUERIES.value, 1)
        for count in map(int, _COUNTS.value):
            train = folder / "train"
            make(train, count, 0)
            for protocol in PROTOCOLS:
                found = in_a_process(protocol, train, folder / "test")
                row = {"vectors": count, "protocol": protocol, **found}
                print(row, flush=True)
                record["rows"].append(row)
                write(record)
            for part in train.iterdir():
                part.unlink()


def write(record: dict) -> None:
    """Writes what has been measured, and its table."""
    results = pathlib.Path(_RESULTS.value)
    results.mkdir(parents=True, exist_ok=True)
    (results / "streaming.json").write_text(json.dumps(record, indent=2) + "\n")
    (results / "streaming.md").write_text(table(record["rows"]))


def make(folder: pathlib.Path, count: int, seed: int) -> None:
    """Writes vectors in parts: means of norm 4, noise of norm 1 a number."""
    folder.mkdir(exist_ok=True)
    dimension, classes = _DIMENSION.value, _CLASSES.value
    means = np.random.default_rng(99).normal(size=(classes, dimension))
    means *= 4 / np.linalg.norm(means, axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    schema = table_schema(dimension, True, {"output": "features"})
    for number, start in enumerate(range(0, count, _PART.value)):
        size = min(_PART.value, count - start)
        labels = rng.integers(0, classes, size)
        vectors = rng.standard_normal((size, dimension), "float32")
        vectors += means.astype("float32")[labels]
        names = [f"{row:09d}.jpg" for row in range(start, start + size)]
        columns = [
            pa.array(names),
            pa.array(labels, pa.int64()),
            pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.ravel()), dimension
            ),
        ]
        pq.write_table(
            pa.Table.from_arrays(columns, schema=schema),
            folder / f"part-{number:05d}.parquet",
            use_dictionary=False,
        )


def in_a_process(protocol, train, test) -> dict:
    """What a fresh process measures of a protocol."""
    found = subprocess.run(
        [sys.executable, __file__, f"--child={protocol}", train, test],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(found.stdout)


def measured(protocol: str, train: str, test: str) -> dict:
    """Results, time and memory of a protocol in this process."""
    start = time.perf_counter()
    found = PROTOCOLS[protocol](train, test)
    return {
        **{key: round(value, 4) for key, value in found.items()},
        "seconds": round(time.perf_counter() - start, 1),
        "peak_mib": round(peak_memory_mib(), 1),
    }


def table(rows: list[dict]) -> str:
    """The most memory and the time, of each protocol and size."""
    lines = [
        "| protocol | vectors | accuracy | seconds | peak MiB | to the first |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for protocol in PROTOCOLS:
        mine = [row for row in rows if row["protocol"] == protocol]
        for row in mine:
            ratio = row["peak_mib"] / mine[0]["peak_mib"]
            cells = [
                protocol,
                f"{row['vectors']:,}",
                f"{row['accuracy']:.3f}",
                f"{row['seconds']:,.0f}",
                f"{row['peak_mib']:,.0f}",
                f"{ratio:.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.launch(main, arguments=True)
