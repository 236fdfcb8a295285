"""The commands as a user calls them: processes of their own."""

import json
import pathlib
import re
import signal
import subprocess
import sys

import pytest
from training.conftest import assert_same_checkpoint

from minc_tf import evaluation
from minc_tf.training import load_recipe, read_config, run

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "shapes" / "minc.py"

#: A small run, as overrides and as settings.
OVERRIDES = {
    "epochs": 2,
    "batch_size": 16,
    "data.num_examples": 64,
    "data.test_split": "train",
    "encoder.filters": (8,),
    "projector.widths": (16, 8),
    "objective.dim": 8,
    "monitor.every": 0,
    # Each takes a second or more to trace; test_run has them.
    "diagnostics.every": 0,
    "diagnostics.alarm": "off",
    "report.num_examples": 48,
    # Compiled by XLA in each process.
    "views.jitter_p": 0.0,
    "views.grey_p": 0.0,
}

#: `minc-pretrain` in a process that is killed while it writes its second
#: checkpoint, then what it left, and the same command once more. Both processes
#: have imported TensorFlow together.
KILLED_AND_RESUMED = """
import json, os, signal
from minc_tf.cli import startup

startup.quieten()
import keras, tensorflow
from minc_tf.cli import pretrain

replace = os.replace


def die(source, target):
    if str(target).endswith("step-00000008.npz"):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)


killed = os.fork()
if not killed:
    os.replace = die
    pretrain.run()
code = os.waitstatus_to_exitcode(os.waitpid(killed, 0)[1])
left = sorted(os.listdir("run/checkpoints"))
told = [code, left, os.path.exists("run/summary.json")]
print("\\n" + json.dumps(told), flush=True)  # after the line of the bar
pretrain.run()
"""


def call(*arguments, cwd):
    """Runs Python with the arguments and returns the finished process."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow  # Two processes and a run beside them.
def test_killed_and_resumed(tmp_path):
    """Such runs are exported in test_own_parts, and evaluated in test_docs."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    flags = [
        f"--config={RECIPE}",
        "--workdir=run",
        *(f"--config.{key}={value}" for key, value in OVERRIDES.items()),
    ]
    resumed = call("-c", KILLED_AND_RESUMED, *flags, cwd=here)
    assert resumed.returncode == 0, resumed.stderr
    (told,) = re.findall(r"^\[.*\]$", resumed.stdout, re.MULTILINE)
    saved = [".step-00000008.part.npz", "step-00000004.npz"]
    assert json.loads(told) == [-signal.SIGKILL, saved, False]
    (line,) = resumed.stderr.splitlines()
    assert line.endswith("resuming at step 4")
    assert "next: minc-export --workdir run --name NAME" in resumed.stdout
    # The bar starts at the second of two epochs.
    assert "50%" in resumed.stdout
    assert sorted(path.name for path in (here / "run").iterdir()) == [
        "checkpoints",
        "config.json",
        "embedding.npz",
        "events",
        "log.txt",
        "metrics.csv",
        "model.keras",
        "pictures",
        "report.html",
        "summary.json",
        "timing.csv",
    ]
    assert [path.name for path in here.iterdir()] == ["run"]

    config = load_recipe(RECIPE)
    config.update_from_flattened_dict(OVERRIDES)
    config.report.num_examples = 0  # Pages have tests of their own.
    run(config, there)
    saved, expected = (
        json.loads((folder / "config.json").read_text())
        for folder in (here / "run", there)
    )
    saved["report"]["num_examples"] = 0
    assert saved == expected
    assert_same_checkpoint(here / "run", there)


def test_overrides_reach_the_run(command, tmp_path, monkeypatch):
    """Also arguments that the recipe does not mention, and None."""
    taken = []

    def record(config, workdir, *, overwrite, verbose, callbacks):
        assert not callbacks
        taken.append((config, workdir, overwrite, verbose))
        return {"loss": -1.5, "skipped_images": 2}

    monkeypatch.setattr("minc_tf.training.run", record)
    result = command(
        "pretrain",
        f"--config={RECIPE}",
        f"--workdir={tmp_path}",
        "--overwrite",
        "--quiet",
        "--config.epochs=7",
        "--config.encoder.filters=(4, 8)",
        "--config.views.solarize_p=0.25",
        "--config.objective.rate=adaptive",
        "--config.objective.triangular=true",
        "--config.data.skip_bad=true",
        "--config.data.test_split=",
        "--config.optimizer.learning_rate=1e-2",
    )
    assert result.code == 0
    ((config, workdir, overwrite, verbose),) = taken
    assert (workdir, overwrite, verbose) == (str(tmp_path), True, 0)
    assert config.epochs == 7
    assert config.encoder.filters == (4, 8)
    assert config.views.solarize_p == 0.25
    assert config.objective.rate == "adaptive"
    assert config.objective.triangular is True
    assert config.data.skip_bad is True
    assert not config.data.test_split
    assert config.optimizer.learning_rate == 0.01
    assert "loss: -1.5" in result.out
    assert "skipped_images: 2" in result.out


def test_argument_and_overrides_of_a_recipe(command, tmp_path, monkeypatch):
    taken = []

    def record(config, *_, **__):
        taken.append(config)
        return {"skipped_images": 0}

    monkeypatch.setattr("minc_tf.training.run", record)
    result = command(
        "pretrain",
        f"--config={ROOT / 'recipes/cifar10.py'}:byol",
        f"--workdir={tmp_path}",
        "--config.optimizer.weight_decay=0.5",
    )
    assert result.code == 0, result.err
    (config,) = taken
    assert config.objective.name == "negative_cosine"
    assert config.optimizer.weight_decay == 0.5


@pytest.mark.slow  # A run, three evaluations and an export.
def test_demo_shows_the_whole_way(command, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    raw_pixels = evaluation.raw_pixels

    def a_few_pixels(batches):
        pixels, labels = raw_pixels(batches)
        return pixels[:, ::48], labels

    # The probe of 3,072 pixels would take most of the test's time.
    monkeypatch.setattr(evaluation, "raw_pixels", a_few_pixels)
    workdir, savedmodels = tmp_path / "run", tmp_path / "savedmodels"
    result = command(
        "demo",
        f"--workdir={workdir}",
        f"--savedmodels={savedmodels}",
        "--name=tiny",
        *(f"--config.{key}={value}" for key, value in OVERRIDES.items()),
        "--config.epochs=1",
        "--config.data.num_examples=256",
        "--config.batch_size=64",
    )
    assert result.code == 0, result.err
    table = {
        line[:16].strip(): line[16:].split()
        for line in result.out.splitlines()
        if line[16:].strip()
    }
    assert table["accuracy, %"] == ["pixels", "untrained", "MINC"]
    for row in ("kNN, k = 20", "kNN, k = 200", "linear probe"):
        assert len(table[row]) == 3
        assert all(0 <= float(number) <= 100 for number in table[row])
    version = savedmodels / "tiny" / "1"
    for path in (
        version,
        workdir / "metrics.csv",
        workdir / "report.html",
        workdir / "events",
    ):
        assert path.exists()
        assert str(path) in result.out
    assert (version / "saved_model.pb").exists()
    assert "linear_accuracy" in (workdir / "evaluation.json").read_text()
    assert read_config(workdir).epochs == 1


def test_demo_spares_the_run_of_another(command, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "notes.txt").write_text("mine")
    result = command("demo", f"--workdir={tmp_path}")
    assert result.code == 2
    assert "is not empty and holds no run" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_inspect_reports_as_text_and_as_json(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = [
        f"--config={RECIPE}",
        "--out=look",
        "--batches=1",
        *(f"--config.{key}={value}" for key, value in OVERRIDES.items()),
    ]
    text = command("inspect", *flags)
    assert text.code == 0, text.err
    assert "shapes/train: 64 images, 32 x 32 x 3" in text.out
    assert "images/s" in text.out
    found = json.loads(command("inspect", *flags, "--json").out)
    assert sum(found["classes"].values()) == 64
    assert (tmp_path / found["picture"]).exists()
