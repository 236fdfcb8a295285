"""Embedding by an engine: `minc-embed` alone, and by workers of Ray.

    python benchmarks/engines.py
    python benchmarks/engines.py --images=100000

Renders pictures of `shapes` and views of them (cut and mirrored), 32 x 32, as
JPEG files, exports an untrained small ResNet and embeds the files

- into one table, by `minc-embed` in one process;
- into parts, by `--engine=local` in one process;
- into parts, by Ray with one and with two workers, whose vectors are compared
  with the table's;
- by Ray with a worker, and then the driver, killed by SIGKILL in the middle,
  until the same command has finished: how often each image is in the parts;
- of 10,000 of them, with 50 damaged, empty and huge ones among them.

Rates are images by seconds, and by seconds that cores worked: those of the
process and all that it starts, but for starting itself, which is that of the
same command on `--few` images. On a machine that others use too only the
latter tell something. Writes `benchmarks/results/engines.json` and `.md`.
"""

import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from absl import flags
from record import ROOT, origin

from minc_tf.cli import app

_IMAGES = flags.DEFINE_integer("images", 20_000, "Images.", lower_bound=1000)
_FEW = flags.DEFINE_integer("few", 128, "Images whose time is the start's.")
_PART = flags.DEFINE_integer("part_size", 4096, "Images a part.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)

_BAD = 50
_ENGINES = {
    "one table": None,
    "parts, local": ["--engine=local"],
    "parts, ray, 1 worker": ["--engine=ray", "--workers=1"],
    "parts, ray, 2 workers": ["--engine=ray", "--workers=2"],
}


def _write_images(folder, count):
    """JPEG files of pictures and views of them, 1,000 a folder."""
    import tensorflow as tf

    import minc_tf

    pictures, _ = minc_tf.data.render_shapes(min(count, 10_000), "train")
    rng = np.random.default_rng(0)
    for number in range(count):
        image = pictures[number % len(pictures)]
        if number >= len(pictures):
            top, left = rng.integers(0, 9, 2)
            image = image[top : top + 24, left : left + 24][:, ::-1]
        path = folder / f"{number // 1000:04d}" / f"{number:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_jpeg(image, quality=92).numpy())


def _export(folder):
    import keras

    import minc_tf

    keras.utils.set_random_seed(0)
    encoder = minc_tf.models.small_resnet()
    model = minc_tf.MINCModel(
        encoder,
        minc_tf.models.mlp(encoder.output_shape[-1], (64, 16)),
        objective=minc_tf.objectives.MINC(dim=16),
    )
    return minc_tf.export.export_savedmodel(model, folder)


class _Command:
    """`minc-embed` in a process, of which, with its own, time is taken."""

    def __init__(self, *arguments):
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "minc_tf.cli.embed", "--quiet", *arguments],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._begin, self._cpu = time.perf_counter(), {}
        self.workers = {}
        self._watch = threading.Thread(target=self._sample)
        self._watch.start()

    def _sample(self):
        """Add up the time of processes while they are there."""
        own = psutil.Process(self._process.pid)
        while self._process.poll() is None:
            try:
                family = [own, *own.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for process in family:
                try:
                    spent = process.cpu_times()
                    if process.cmdline()[:1] == ["ray::_Worker.make"]:
                        self.workers[process.pid] = process
                except psutil.NoSuchProcess:
                    continue
                self._cpu[process.pid] = spent.user + spent.system
            time.sleep(0.1)

    def wait(self):
        """Wait for the end; return seconds, and those that cores worked."""
        code = self._process.wait()
        self._watch.join()
        seconds = time.perf_counter() - self._begin
        if code:
            raise RuntimeError(f"minc-embed ended with {code}")
        return seconds, sum(self._cpu.values())

    def kill_a_worker(self, parts, count):
        """Kill a worker as soon as there are so many parts."""
        while len(list(parts.glob("part-*"))) < count:
            time.sleep(0.02)
        worker = next(p for p in self.workers.values() if p.is_running())
        worker.send_signal(signal.SIGKILL)

    def kill(self, parts, count):
        """Kill the driver as soon as there are so many parts."""
        while len(list(parts.glob("part-*"))) < count:
            time.sleep(0.02)
        self._process.kill()
        self._process.wait()
        self._watch.join()


def _rates(model, photos, few, scratch):
    """Rows of the engines, and the vectors of each, by path."""
    rows, vectors = [], {}
    for name, options in _ENGINES.items():
        spent = []
        for images, part in ((few, _FEW.value // 2), (photos, _PART.value)):
            out = scratch / f"{name}-{images.name}"
            target = f"{out}.parquet" if options is None else f"{out}/"
            command = _Command(
                f"--savedmodel={model}",
                f"--images={images}",
                f"--out={target}",
                *(options or []),
                *([] if options is None else [f"--part_size={part}"]),
            )
            spent.append(command.wait())
        number = _IMAGES.value - _FEW.value
        cpu = spent[1][1] - spent[0][1]
        rows.append(
            {
                "what": name,
                "seconds": spent[1][0],
                "start_seconds": spent[0][0],
                "images_per_second": _IMAGES.value / spent[1][0],
                "images_per_core_second": number / cpu,
                "with_start": _IMAGES.value / spent[1][1],
                "start_core_seconds": spent[0][1],
            }
        )
        vectors[name] = _vectors(pathlib.Path(target))
        print(json.dumps(rows[-1]), flush=True)
    return rows, vectors


def _vectors(out):
    """Vectors by path, of a table or of parts; each path once."""
    files = [out] if out.is_file() else sorted(out.glob("part-*.parquet"))
    table = pa.concat_tables([pq.read_table(f) for f in files])
    if "error" in table.column_names:
        table = table.filter(table["error"].is_null())
    values = table["vector"].combine_chunks()
    flat = values.flatten().to_numpy().reshape(-1, values.type.list_size)
    paths = table["path"].to_pylist()
    if len(set(paths)) != len(paths):
        raise RuntimeError(f"a path is twice in {out}")
    return dict(zip(paths, flat, strict=True))


def _largest_difference(vectors, expected):
    if vectors.keys() != expected.keys():
        raise RuntimeError("not the same images")
    return max(float(abs(vectors[k] - expected[k]).max()) for k in expected)


def _killed(model, photos, scratch, expected):
    """What is in the parts after a worker and the driver were killed."""
    out = scratch / "killed"
    arguments = [
        f"--savedmodel={model}",
        f"--images={photos}",
        f"--out={out}/",
        "--engine=ray",
        "--workers=2",
        f"--part_size={max(64, _IMAGES.value // 40)}",
    ]
    command = _Command(*arguments)
    command.kill_a_worker(out, 5)
    command.kill(out, 15)
    time.sleep(2)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    _Command(*arguments).wait()
    again = sum(
        (out / name).stat().st_mtime_ns != made for name, made in before.items()
    )
    parts = sorted(out.glob("part-*.parquet"))
    paths = pa.concat_tables(map(pq.read_table, parts))["path"].to_pylist()
    times = collections.Counter(collections.Counter(paths).values())
    return {
        "parts": len(parts),
        "parts_when_the_driver_was_killed": len(before),
        "made_again": again,
        "images_by_how_often": {str(k): v for k, v in times.items()},
        "missing": len(expected.keys() - set(paths)),
        "largest_difference": _largest_difference(_vectors(out), expected),
    }


def _with_bad(model, photos, scratch, expected):
    """What is listed of 50 bad images among others, and what is missing."""
    folder = scratch / "some"
    names = sorted(expected)[: 10_000 - _BAD]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(photos / name, path)
    whole = (photos / names[0]).read_bytes()
    place = whole.index(b"\xff\xc0") + 5
    huge = whole[:place] + 2 * b"\xea\x60" + whole[place + 4 :]
    kinds = (whole[: len(whole) // 2], b"", huge, b"text", whole[:12])
    for number in range(_BAD):
        path = folder / f"{number % 10:04d}" / f"bad{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(kinds[number % len(kinds)])
    out = scratch / "with_bad"
    _Command(
        f"--savedmodel={model}",
        f"--images={folder}",
        f"--out={out}/",
        "--engine=ray",
        "--workers=2",
        "--part_size=1024",
    ).wait()
    listed = (out / "bad.csv").read_text().splitlines()[1:]
    reasons = collections.Counter(line.split(",", 1)[1] for line in listed)
    expected = {name: expected[name] for name in names}
    return {
        "images": len(names) + _BAD,
        "listed": len(listed),
        "reasons": dict(reasons),
        "largest_difference_of_the_others": _largest_difference(
            _vectors(out), expected
        ),
    }


def _text(record):
    """The record as a page."""
    command, machine = record["command"], record["machine"]
    lines = [
        "# Embedding by an engine",
        "",
        f"`{command}`, {machine}, {record['date']}, commit "
        f"{record['commit']}. {record['images']:,} JPEG files of 32 x 32, an "
        f"untrained {record['encoder']}, parts of {record['part_size']:,}.",
        "",
        "| | images/s and core | of the table's | start, core s "
        "| with it, images/s and core | images/s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    base = record["rates"][0]["images_per_core_second"]
    for row in record["rates"]:
        each = row["images_per_core_second"]
        lines.append(
            f"| {row['what']} | {each:,.0f} | {each / base:.2f} | "
            f"{row['start_core_seconds']:.0f} | {row['with_start']:,.0f} | "
            f"{row['images_per_second']:,.0f} |"
        )
    differences = ", ".join(
        f"{name} {value:.1e}" for name, value in record["differences"].items()
    )
    killed, bad = record["killed"], record["bad"]
    reasons = "; ".join(f"{v} {k}" for k, v in bad["reasons"].items())
    lines += [
        "",
        "Images/s and core are those of a second that a core worked, of all "
        "processes, Ray's own too; in the first column without the start, the "
        f"cost of {record['few']} images. The last column is by the clock, "
        "start and all, and says little: others used the machine meanwhile.",
        "",
        f"Largest difference from the table's vectors: {differences}.",
        "",
        "A worker killed by SIGKILL after 5 parts and the driver after "
        f"{killed['parts_when_the_driver_was_killed']} of {killed['parts']}; "
        f"the same command made {killed['made_again']} of these again. Images "
        f"in the parts, by how often: {killed['images_by_how_often']}; "
        f"missing: {killed['missing']}; largest difference of a vector: "
        f"{killed['largest_difference']:.1e}.",
        "",
        f"{_BAD} bad images among {bad['images']:,}: {bad['listed']} listed "
        f"({reasons}); the vectors of the others differ by at most "
        f"{bad['largest_difference_of_the_others']:.1e}.",
        "",
    ]
    return "\n".join(lines)


def main(_):
    """Measure, and write the record."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        photos, few = scratch / "photos", scratch / "few"
        _write_images(photos, _IMAGES.value)
        _write_images(few, _FEW.value)
        model = _export(scratch / "model")
        rates, vectors = _rates(model, photos, few, scratch)
        expected = vectors.pop("one table")
        record = {
            **origin(),
            "images": _IMAGES.value,
            "few": _FEW.value,
            "encoder": "small_resnet",
            "part_size": _PART.value,
            "rates": rates,
            "differences": {
                name: _largest_difference(found, expected)
                for name, found in vectors.items()
            },
            "killed": _killed(model, photos, scratch, expected),
            "bad": _with_bad(model, photos, scratch, expected),
        }
    path = pathlib.Path(_RESULTS.value) / "engines.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    path.with_suffix(".md").write_text(_text(record))
    print(_text(record))


if __name__ == "__main__":
    app.launch(main)
