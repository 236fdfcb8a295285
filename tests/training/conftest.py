"""A run small enough for a test, finished and interrupted."""

import json
import os
import types

import numpy as np
import pytest

from minc_tf.training import Checkpoints, callbacks, default_config, run
from minc_tf.training.checkpoints import step_of


def tiny_config(**changes):
    """Settings of a run of three epochs of four steps.

    Args:
        **changes: settings by name; a dict changes keys of a section.
    """
    config = default_config()
    config.batch_size = 16
    config.epochs = 3
    config.data.num_examples = 64
    config.data.test_split = None
    # No jitter: compiling it takes most of the time of so small a run.
    config.views = {
        "preset": "simclr",
        "size": 32,
        "blur": False,
        "jitter_p": 0.0,
        "grey_p": 0.0,
    }
    config.encoder = {"name": "small_resnet", "filters": (8,)}
    config.projector = {"widths": (16, 8)}
    config.objective = {"name": "minc", "dim": 8, "mu": 10.0}
    config.monitor.k = 5
    config.monitor.num_examples = 48
    # Each takes a second or more to trace, of a run that takes few.
    config.diagnostics.every = 0
    config.diagnostics.alarm = "off"
    config.report.num_examples = 0
    for key, value in changes.items():
        if isinstance(value, dict):
            for name, item in value.items():
                config[key][name] = item
        else:
            config[key] = value
    return config


def monitored_config():
    """The same with everything that watches a run."""
    return tiny_config(
        data={"test_split": "test"},
        diagnostics={"every": 2, "num_examples": 48, "alarm": "warn"},
        report={"num_examples": 48},
    )


def checkpoint_arrays(workdir):
    """Every array of a run's newest checkpoint, by its name in the file."""
    with np.load(Checkpoints(workdir / "checkpoints").latest) as file:
        return {key: file[key] for key in file.files if key != "settings"}


def assert_same_checkpoint(one, other):
    """Weights, statistics, optimizer and generators are bit-equal."""
    first, second = checkpoint_arrays(one), checkpoint_arrays(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def stop_at(patch, step):
    """Makes every run fail at a step."""
    move = callbacks.Progress.on_train_batch_end

    def stop(self, batch, logs=None):
        move(self, batch, logs)
        if step_of(self.model) == step:
            raise RuntimeError("power cut")

    patch.setattr(callbacks.Progress, "on_train_batch_end", stop)


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """The folder of a finished run without what watches a run."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    run(tiny_config(), folder)
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run: its folder, summary, and what lies beside it."""
    root = tmp_path_factory.mktemp("finished")
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    before = os.getcwd()
    os.chdir(elsewhere)
    try:
        summary = run(monitored_config(), root / "run")
    finally:
        os.chdir(before)
    return types.SimpleNamespace(
        folder=root / "run",
        summary=summary,
        beside=sorted(p.relative_to(root).parts[0] for p in root.rglob("*")),
        elsewhere=list(elsewhere.iterdir()),
    )


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory):
    """The folder of the same run, stopped in the middle of epoch 2."""
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, step=6)
        with pytest.raises(RuntimeError, match="power cut"):
            run(monitored_config(), folder)
    assert json.loads((folder / "config.json").read_text())["epochs"] == 3
    return folder
