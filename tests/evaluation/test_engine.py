"""Parts made by the workers of Ray, some of which are killed."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import minc_tf
from minc_tf.evaluation import embed_collection, embed_images
from minc_tf.evaluation.embedding import ray_engine
from minc_tf.export import export_savedmodel

from .conftest import make_model
from .photos import add_bad_files, read, write_photos

ray = pytest.importorskip("ray", reason="Ray is not installed")
psutil = pytest.importorskip("psutil", reason="finds the workers to kill")

_ROOT = os.path.dirname(os.path.dirname(minc_tf.__file__))

_DRIVER = """
import sys
from minc_tf.evaluation import embed_collection
embed_collection(*sys.argv[1:], engine="ray", part_size=2, workers=1)
"""


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One of two cores, which the calls of the library join."""
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = _ROOT
    ray_engine.import_ray()
    found = ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80 * 2**20,
        log_to_driver=False,
    )
    yield found.address_info["gcs_address"]
    ray.shutdown()
    if path is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = path


def kill_a_worker(killed):
    """Kill the first process that is at a part."""
    limit = time.monotonic() + 60
    while not killed and time.monotonic() < limit:
        # Of this cluster: others on the machine have workers, too.
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.cmdline()[:1] == ["ray::_Worker.make"]:
                    process.send_signal(signal.SIGKILL)
                    killed.append(process.pid)
                    return
        time.sleep(0.01)


@pytest.mark.slow  # three processes import TensorFlow
def test_driver_and_worker_are_killed(cluster, tmp_path, caplog):
    """In the end each image is in one part, with the vector of the table."""
    photos = write_photos(tmp_path / "photos")
    bad = add_bad_files(photos)
    for number in range(200):
        os.link(photos / "ä.png", photos / f"more{number:03d}.png")
    model = export_savedmodel(make_model(), tmp_path / "model")
    out, table = tmp_path / "parts", tmp_path / "table.parquet"
    embed_images(model, photos, table)

    driver = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(model), str(photos), str(out)],
        env=os.environ | {"RAY_ADDRESS": cluster},
    )
    limit = time.monotonic() + 120
    while not list(out.glob("part-*")):
        assert driver.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    time.sleep(1)  # what its workers still write
    first = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert 0 < len(first) < 100

    killed = []
    killer = threading.Thread(target=kill_a_worker, args=[killed])
    killer.start()
    with caplog.at_level(logging.WARNING, "minc_tf"):
        # One of them finds no core, and is not waited for.
        result = embed_collection(
            model, photos, out, engine="ray", part_size=2, workers=3
        )
    killer.join()
    assert killed
    assert "a worker died; part-" in caplog.text
    assert (result["rows"], result["bad"]) == (207, len(bad))
    assert result["parts"] == len(list(out.glob("part-*"))) == 108
    for name, made in first.items():
        assert (out / name).stat().st_mtime_ns == made
    parts = map(pq.read_table, sorted(out.glob("part-*")))
    rows = pa.concat_tables(parts).to_pylist()
    paths = [row["path"] for row in rows]
    names, vectors = read(table)
    assert paths == sorted([*names, *(name for name, _ in bad)])
    good = {r["path"]: r["vector"] for r in rows if r["error"] is None}
    found = [good[name] for name in names]
    np.testing.assert_allclose(found, vectors, atol=1e-5)


class Abort:
    """Ends the process that it is sent to."""

    def __reduce__(self):
        """Call what ends it."""
        return os.abort, ()


def run(job, parts, images_of_part, **kwargs):
    settings = {"workers": 2, "worker_cpus": 1, "worker_gpus": 0} | kwargs
    return ray_engine.make_parts(job, parts, images_of_part, **settings)


def test_a_part_that_workers_die_of(caplog):
    """Is given up after three; its error asks for the same command."""
    with pytest.raises(
        ray_engine.WorkerDiedError, match=r"3 workers died of.*'part-1'.*same"
    ) as caught:
        list(run({}, ["part-1"], lambda part: Abort()))
    assert caught.value.exit_code == 75
    assert caplog.text.count("a worker died; part-1 is made again") == 2


@pytest.mark.slow  # a process imports TensorFlow
def test_errors_of_workers_are_raised_as_they_are():
    job = dict.fromkeys(("output", "batch_size", "max_pixels", "data"))
    job |= {"savedmodel": "nowhere", "folder": None}
    with pytest.raises(FileNotFoundError, match="'nowhere'") as caught:
        list(run(job, ["a"], lambda part: None))
    assert "\n" not in str(caught.value)


def test_errors_that_may_pass(caplog):
    """Those of a store that does not answer are raised the third time."""

    def check(cause, count):
        error = ray.exceptions.RayTaskError("make", "traceback", cause)
        ray_engine._check_passing(error, "part-1", count)

    check(OSError("timeout"), 1)
    check(ConnectionError("reset"), 2)
    assert caplog.text.count("part-1 is made again after an error") == 2
    with pytest.raises(OSError, match=r"^timeout$"):
        check(OSError("timeout"), 3)
    with pytest.raises(FileNotFoundError, match=r"^gone$"):
        check(FileNotFoundError("gone"), 1)
    with pytest.raises(ValueError, match=r"^other$"):
        check(ValueError("other"), 1)


def test_room_for_workers(caplog):
    """None for which there is no machine yet is told of, and waited for."""
    assert ray_engine._room(ray, 1, 0) == 2
    assert ray_engine._room(ray, 2, 0) == 1
    assert not caplog.records
    assert ray_engine._room(ray, 3, 0) == 1
    assert "no machine of Ray's has room for a worker of 3" in caplog.text
