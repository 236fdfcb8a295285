"""Runs that ended, and are trained for longer."""

import json
import math
import shutil

import keras
import numpy as np
import pytest

from minc_tf.training import read_config, run
from minc_tf.training.run import Workdir

from .conftest import assert_same_checkpoint, stop_at, tiny_config
from .test_own_callbacks import table


@pytest.fixture(scope="module")
def longer(plain, tmp_path_factory):
    """A copy of the plain run that went on to five epochs."""
    folder = tmp_path_factory.mktemp("longer") / "run"
    shutil.copytree(plain, folder)
    run(tiny_config(epochs=5), folder)
    return folder


def test_goes_on_from_the_last_checkpoint(plain, longer):
    rows = table(longer)
    assert rows[:3] == table(plain)
    assert [int(row["step"]) for row in rows] == [4, 8, 12, 16, 20]
    summary = json.loads((longer / "summary.json").read_text())
    assert summary["epoch"] == summary["epochs"] == 5
    assert read_config(longer).epochs == 5
    assert run(tiny_config(epochs=5), longer) == summary


def test_the_rate_is_that_of_the_whole_length(longer):
    """A cosine over steps 4 to 20, and the log says so."""

    def rate(step):
        return 1e-3 * (1 + math.cos(math.pi * (step - 4) / 16)) / 2

    found = [float(row["learning_rate"]) for row in table(longer)]
    expected = [1e-3, 5e-4, 0.0, rate(16), 0.0]
    np.testing.assert_allclose(found, expected, atol=1e-8)
    log = (longer / "log.txt").read_text()
    assert log.count("trained for longer, 5 epochs instead of 3") == 1
    assert f"from 0 to {rate(12):.3g} here (50 % of its peak)\n" in log


class Cut(keras.callbacks.Callback):
    """Ends a run before its first step."""

    def on_train_begin(self, logs=None):
        raise RuntimeError("power cut")


@pytest.mark.slow  # Three runs, two of them traced.
def test_killed_and_resumed_it_is_the_same(plain, longer, tmp_path):
    """With the new settings beside the old summary, and twice afterwards."""
    folder = shutil.copytree(plain, tmp_path / "run")
    shutil.copy(longer / "config.json", folder / "config.json")
    config = tiny_config(epochs=5, checkpoint={"every_steps": 3})
    with pytest.raises(RuntimeError, match="power cut"):
        run(config, folder, callbacks=[Cut()])
    assert not (folder / "summary.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, step=18)
        with pytest.raises(RuntimeError, match="power cut"):
            run(config, folder)
    assert run(config, folder)["epoch"] == 5
    assert_same_checkpoint(folder, longer)
    assert table(folder) == table(longer)


def test_summary_of_before_runs_could_end_early(plain, tmp_path):
    folder = shutil.copytree(plain, tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    del summary["epochs"]
    (folder / "summary.json").write_text(json.dumps(summary))
    assert run(tiny_config(), folder) == summary
    Workdir(folder).check(tiny_config(epochs=4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 2}, r"other settings \(epochs: 3 -> 2\)"),
        (
            {"epochs": 5, "seed": 1},
            r"settings \(epochs: 3 -> 5, seed: 0 -> 1\)",
        ),
        ({"seed": 1}, r"other settings \(seed: 0 -> 1\)"),
    ],
)
def test_nothing_else_may_change(plain, changes, message):
    before = (plain / "summary.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        run(tiny_config(**changes), plain)
    assert (plain / "summary.json").read_bytes() == before
    assert read_config(plain).epochs == 3


def test_a_run_that_has_not_ended_keeps_its_length(plain, tmp_path):
    folder = shutil.copytree(plain, tmp_path / "run")
    (folder / "summary.json").unlink()
    with pytest.raises(ValueError, match="of 3 epochs that has not ended; let"):
        run(tiny_config(epochs=5), folder)
    assert read_config(folder).epochs == 3
