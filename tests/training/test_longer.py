"""Runs that ended, and are trained for longer."""

import json
import math
import shutil

import numpy as np
import pytest

from minc_tf.training import read_config, run
from minc_tf.training.run import Workdir

from .conftest import assert_same_checkpoint, stop_at, tiny_config
from .test_own_callbacks import table


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The folder of a run of three epochs of four steps."""
    folder = tmp_path_factory.mktemp("ended") / "run"
    run(tiny_config(), folder)
    return folder


@pytest.fixture(scope="module")
def longer(ended, tmp_path_factory):
    """A copy of it that went on to five epochs."""
    folder = tmp_path_factory.mktemp("longer") / "run"
    shutil.copytree(ended, folder)
    run(tiny_config(epochs=5), folder)
    return folder


def test_goes_on_from_the_last_checkpoint(ended, longer):
    rows = table(longer)
    assert rows[:3] == table(ended)
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


@pytest.mark.slow  # Three runs, each traced.
def test_killed_and_resumed_it_is_the_same(ended, longer, tmp_path):
    folder = shutil.copytree(ended, tmp_path / "run")
    config = tiny_config(epochs=5, checkpoint={"every_steps": 3})
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, step=14)  # back at its first step, nothing is saved
        with pytest.raises(RuntimeError, match="power cut"):
            run(config, folder)
    assert not (folder / "summary.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, step=18)
        with pytest.raises(RuntimeError, match="power cut"):
            run(config, folder)
    run(config, folder)
    assert_same_checkpoint(folder, longer)
    assert table(folder) == table(longer)


def test_killed_between_settings_and_summary(ended, longer, tmp_path):
    """The settings are of five epochs, the summary still of three."""
    folder = shutil.copytree(ended, tmp_path / "run")
    shutil.copy(longer / "config.json", folder / "config.json")
    assert run(tiny_config(epochs=5), folder)["epoch"] == 5
    assert_same_checkpoint(folder, longer)


def test_summary_of_before_runs_could_end_early(ended, tmp_path):
    folder = shutil.copytree(ended, tmp_path / "run")
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
def test_nothing_else_may_change(ended, changes, message):
    before = (ended / "summary.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        run(tiny_config(**changes), ended)
    assert (ended / "summary.json").read_bytes() == before
    assert read_config(ended).epochs == 3


def test_a_run_that_has_not_ended_keeps_its_length(ended, tmp_path):
    folder = shutil.copytree(ended, tmp_path / "run")
    (folder / "summary.json").unlink()
    with pytest.raises(ValueError, match="of 3 epochs that has not ended; let"):
        run(tiny_config(epochs=5), folder)
    assert read_config(folder).epochs == 3
