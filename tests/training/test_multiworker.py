"""Two processes on the loopback address train as one does."""

import contextlib
import json
import multiprocessing
import os
import pathlib
import signal
import socket
import sys
import time

import numpy as np
import pytest

from minc_tf.training import Checkpoints
from minc_tf.training.termination import TRY_AGAIN

from .conftest import assert_same_checkpoint

RECIPE = pathlib.Path(__file__).parents[2] / "recipes/shapes/minc.py"

#: Six steps of the demo, in three epochs, so that another epoch follows when a
#: worker is killed. One device rounds differently from two, and at the demo's
#: learning rate that grows some three times a step.
SHORT = [
    "--config.epochs=3",
    "--config.batch_size=16",
    "--config.data.num_examples=32",
    "--config.monitor.num_examples=32",
    "--config.monitor.k=5",
    "--config.checkpoint.every_steps=1",
    "--config.diagnostics.every=0",
    "--config.encoder.filters=(8,)",
    "--config.projector.widths=(16, 8)",
    "--config.objective.dim=8",
    # Compiled by XLA in each process.
    "--config.views.jitter_p=0.0",
    "--config.views.grey_p=0.0",
    # Adaptive rates round differently in two processes: in the last digit.
    "--config.objective.tracking=mean",
    "--config.objective.rate=1.0",
    "--config.objective.self_pairs=True",
]

#: The page at the end takes seconds. Runs that differ in it alone are the same.
REPORT, NO_REPORT = (
    f"--config.report.num_examples={count}" for count in (32, 0)
)

#: Seven processes, of which two run at a time, on TensorFlow.
pytestmark = pytest.mark.slow

#: Forks each of them from one that has imported TensorFlow.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tensorflow", "keras"])


def pretrain(arguments, environment, errors):
    """`minc-pretrain`, as in a process that was started for it."""
    os.environ.update(environment)
    for descriptor, path in ((1, os.devnull), (2, errors)):
        with open(path, "wb") as file:
            os.dup2(file.fileno(), descriptor)
    sys.argv = ["minc-pretrain", *arguments]
    # Only here: a command defines its flags for a whole process.
    from minc_tf.cli import pretrain

    pretrain.run()


class Worker:
    """A process of the run, and the file of its errors."""

    def __init__(self, workdir, *overrides, index=0, **environment):
        workdir.parent.mkdir(exist_ok=True)
        self.errors = workdir.with_name(f"errors{index}.txt")
        arguments = [f"--config={RECIPE}", f"--workdir={workdir}"]
        arguments += [*SHORT, *overrides]
        self.process = FORKS.Process(
            target=pretrain, args=(arguments, environment, self.errors)
        )
        self.process.start()

    def send(self, number):
        """Sends a signal."""
        os.kill(self.process.pid, number)

    def end(self):
        """The exit code and what was printed as an error."""
        self.process.join(timeout=240)
        return self.process.exitcode, self.errors.read_text()


@contextlib.contextmanager
def pair(workdir, *overrides):
    """Two workers, which do not outlive the block."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("", 0))) for _ in range(2)
        ]
        ports = [server.getsockname()[1] for server in servers]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    flags = ["--config.strategy=multiworker"]
    flags += ["--config.distribute.join_timeout=60"]
    workers = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": cluster, "task": task})
        workers.append(
            Worker(workdir, *flags, *overrides, index=index, TF_CONFIG=config)
        )
    try:
        yield workers
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def said(errors):
    """The error that a command ended with; TensorFlow may say more after it."""
    return [x for x in errors.splitlines() if x.startswith("error: ")][-1]


def steps_saved(folder):
    """The steps of the checkpoints, oldest first."""
    paths = Checkpoints(folder / "checkpoints").paths
    return [int(path.stem.removeprefix("step-")) for path in paths]


def wait_for_step(worker, folder, step):
    """Waits for the checkpoint of a step, or of a later one."""
    while max(steps_saved(folder), default=0) < step:
        assert worker.process.is_alive(), worker.end()
        time.sleep(0.002)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run in one process of two devices."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    flags = ("--config.strategy=mirrored", "--config.distribute.devices=2")
    code, errors = Worker(folder, REPORT, *flags).end()
    assert code == 0, errors[-2000:]
    return folder


@pytest.fixture(scope="module")
def restarted(tmp_path_factory):
    """The run in two processes: SIGTERM for one of them, then SIGKILL."""
    folder = tmp_path_factory.mktemp("restarted") / "run"
    with pair(folder, NO_REPORT) as (first, second):
        wait_for_step(first, folder, 1)
        second.send(signal.SIGTERM)
        ended = [worker.end() for worker in (first, second)]
    messages = set()
    for code, errors in ended:
        assert code == TRY_AGAIN, errors[-2000:]
        messages.add(said(errors))
    assert len(messages) == 1, "both ended at the same step"
    assert "told to end (SIGTERM) at step " in messages.pop()

    with pair(folder, NO_REPORT) as (first, second):
        wait_for_step(first, folder, steps_saved(folder)[-1] + 1)
        second.send(signal.SIGKILL)
        code, errors = first.end()
    assert code == TRY_AGAIN, errors[-2000:]
    message = said(errors)
    assert message.startswith("error: a worker of 127.0.0.1:"), errors[-2000:]
    assert f"with the same command to go on from {folder}" in message
    assert not (folder / "summary.json").exists()

    with pair(folder, REPORT) as workers:
        for code, errors in [worker.end() for worker in workers]:
            assert code == 0, errors[-2000:]
    return folder


def rows(folder):
    """The table of a run."""
    table = np.genfromtxt(folder / "metrics.csv", delimiter=",", names=True)
    return np.array(table.tolist())


def test_two_processes_are_one_process_of_two_devices(restarted, alone):
    """To the bit, and so also where rounding would grow; nothing is lost."""
    assert_same_checkpoint(alone, restarted)
    assert len(rows(alone)) == 3
    np.testing.assert_allclose(rows(restarted), rows(alone), rtol=1e-6)
    names = {path.name for path in restarted.iterdir()}
    assert names == {path.name for path in alone.iterdir()}
    assert "report.html" in names


def test_one_process_writes_the_folder(restarted):
    events = restarted / "events" / "train"
    assert len(list(events.glob("events.out.tfevents.*"))) == 1
