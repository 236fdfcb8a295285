"""Runs that are told to end, killed, or stopped in the middle of an epoch."""

import os
import pathlib
import runpy
import shutil
import signal
import threading

import pytest

from minc_tf.training import PreemptedError, run
from minc_tf.training.callbacks import Progress
from minc_tf.training.checkpoints import step_of
from minc_tf.training.termination import Termination
from minc_tf.training.workdir import Workdir

from .conftest import assert_same_checkpoint, tiny_config

KILL = runpy.run_path(
    pathlib.Path(__file__).parents[2] / "benchmarks" / "kill.py"
)


def at_step(patch, step, action):
    """Makes every run do something after a step."""
    move = Progress.on_train_batch_end

    def act(self, batch, logs=None):
        move(self, batch, logs)
        if step_of(self.model) == step:
            action()

    patch.setattr(Progress, "on_train_batch_end", act)


def steps_saved(folder):
    return [path.name for path in sorted((folder / "checkpoints").iterdir())]


def assert_same_run(one, other):
    """The same weights, table and curves, each step once."""
    assert_same_checkpoint(one, other)
    table = (one / "metrics.csv").read_bytes()
    assert table == (other / "metrics.csv").read_bytes()
    assert KILL["logged_steps"](one) == [4, 8, 12]


def told_to_end(folder, config, step):
    """A run is told to end at a step, and ends there."""
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, step, lambda: signal.raise_signal(signal.SIGTERM))
        message = f"SIGTERM. at step {step}; saved in {folder}/checkpoints"
        with pytest.raises(PreemptedError, match=message):
            run(config, folder)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert steps_saved(folder)[-1] == f"step-{step:08d}.npz"
    assert not (folder / "summary.json").exists()


@pytest.mark.slow  # Four runs, each traced.
def test_run_that_is_stopped_again_and_again(plain, tmp_path):
    """It ends as the one that was left alone.

    Told to end in the middle of an epoch; killed between the table and the
    checkpoint of an epoch, which loses the steps since the last checkpoint and
    not the epoch, whose row is then written once; told to end at the end of an
    epoch; told to end while ending, when there is nothing to come back for.
    """
    folder, config = tmp_path / "run", tiny_config()
    told_to_end(folder, config, 6)

    # How often to save, and how many to keep, is no part of what the run is.
    config.checkpoint.every_steps = 7
    with pytest.MonkeyPatch.context() as patch:
        replace = os.replace

        def killed(source, target):
            if str(target).endswith("step-00000008.npz"):
                raise KeyboardInterrupt
            replace(source, target)

        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            run(config, folder)
    assert (folder / "metrics.csv").read_text().count("\n") == 3
    assert steps_saved(folder)[-1] == "step-00000007.npz"

    config.checkpoint.every_steps = 0
    told_to_end(folder, config, 8)

    config.checkpoint.max_to_keep = 1
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 12, lambda: signal.raise_signal(signal.SIGTERM))
        run(config, folder)
    assert_same_run(folder, plain)
    assert steps_saved(folder) == ["step-00000012.npz"]


def test_damaged_checkpoint_stops_the_run(plain, tmp_path):
    folder = shutil.copytree(plain, tmp_path / "run")
    (folder / "summary.json").unlink()
    newest = folder / "checkpoints" / "step-00000012.npz"
    before = newest.read_bytes()
    newest.write_bytes(before[:-100])
    with pytest.raises(ValueError, match="remove it to go on from step-000000"):
        run(tiny_config(), folder)
    assert newest.read_bytes() == before[:-100]
    assert steps_saved(folder) == ["step-00000008.npz", newest.name]


def test_checkpoint_of_another_run_stops_the_run(plain, tmp_path):
    folder = tmp_path / "run"
    Workdir(folder).claim(tiny_config())
    shutil.copytree(plain / "checkpoints", folder / "checkpoints")
    config = tiny_config()
    config.seed = 3
    (folder / "config.json").unlink()
    shutil.move(folder / "checkpoints", tmp_path / "checkpoints")
    Workdir(folder).claim(config)
    shutil.move(tmp_path / "checkpoints", folder / "checkpoints")
    with pytest.raises(ValueError, match="other settings: seed: 0 -> 3"):
        run(config, folder)
    assert len(steps_saved(folder)) == 2


def test_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    """Said before anything is loaded; root may write where others may not."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="cannot be written to") as caught:
        run(tiny_config(), tmp_path / "deep" / "run")
    assert f"no permission in '{tmp_path}'" in str(caught.value)
    assert not (tmp_path / "deep").exists()


def test_no_handler_outside_the_main_thread():
    found = []

    def enter():
        with Termination() as termination:
            found.append(termination.requested)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [False]
    assert signal.getsignal(signal.SIGTERM) is before
