"""Callbacks of one's own in a run."""

import csv
import pathlib
import re
import sys
import types
from unittest import mock

import keras
import numpy as np
import pytest

from minc_tf.training import Checkpoints, run
from minc_tf.training.checkpoints import step_of
from minc_tf.training.own_callbacks import find_callbacks, watch_batches

from .conftest import assert_same_checkpoint, stop_at, tiny_config

FLAGS = re.MULTILINE | re.DOTALL


class Recorder(keras.callbacks.Callback):
    """Notes each hook, the model's step and the loss."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def note(self, hook, index=None, logs=None):
        loss = (logs or {}).get("loss")
        assert loss is None or isinstance(loss, float)
        self.seen.append((hook, index, step_of(self.model), loss))

    def on_train_begin(self, logs=None):
        self.note("train begin")

    def on_train_end(self, logs=None):
        self.note("train end")

    def on_epoch_begin(self, epoch, logs=None):
        self.note("epoch begin", epoch)

    def on_train_batch_begin(self, batch, logs=None):
        self.note("batch begin", batch)

    def on_train_batch_end(self, batch, logs=None):
        self.note("batch end", batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self.note("epoch end", epoch, logs)
        self.logs = dict(logs)
        logs["doubled"] = 2.0 * logs["loss"]


class Stop(keras.callbacks.Callback):
    """Ends training with the second epoch."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = step_of(self.model) > 4


def table(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def expected_hooks(first, epochs, steps):
    """What `fit` would call from a step on: hook, index, the model's step."""
    yield "train begin", None, first
    for epoch in range(first // steps, epochs):
        done = max(first, epoch * steps)
        yield "epoch begin", epoch, done
        for step in range(done, (epoch + 1) * steps):
            yield "batch begin", step % steps, step
            yield "batch end", step % steps, step + 1
        yield "epoch end", epoch, (epoch + 1) * steps
    yield "train end", None, epochs * steps


def assert_hooks(recorder, folder, first, epochs, steps):
    hooks = [call[:3] for call in recorder.seen]
    assert hooks == list(expected_hooks(first, epochs, steps))
    ends = [call for call in recorder.seen if call[0] == "epoch end"]
    for (*_, epoch_loss), row in zip(
        ends, table(folder)[first // steps :], strict=True
    ):
        assert epoch_loss == float(row["loss"])
        assert float(row["doubled"]) == 2.0 * epoch_loss


def trackers():
    """The functions of the docs, by name."""
    page = pathlib.Path(__file__).parents[2] / "docs/runs.md"
    found = {}
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), FLAGS):
        if "def to_" in block:
            exec(compile(block, "<block>", "exec"), found)
    return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A run that a recorder watches, and the docs' trackers."""
    folder = tmp_path_factory.mktemp("watched") / "run"
    config = tiny_config(checkpoint={"every_steps": 2})
    mlflow, wandb, recorder = mock.MagicMock(), mock.MagicMock(), Recorder()
    mlflow.search_runs.return_value = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mlflow", mlflow)
        patch.setitem(sys.modules, "wandb", wandb)
        found = trackers()
        watchers = found["to_mlflow"](config) + found["to_wandb"](config)
        assert not wandb.mock_calls and not mlflow.mock_calls
        run(config, folder, callbacks=[recorder, *watchers])
    return types.SimpleNamespace(
        folder=folder,
        config=config,
        recorder=recorder,
        mlflow=mlflow,
        wandb=wandb,
    )


def test_hooks_and_logs(watched):
    """The logs are those of the run's table."""
    recorder = watched.recorder
    assert_hooks(recorder, watched.folder, 0, 3, 4)
    assert {"images_per_second", "embedding_std"} <= recorder.logs.keys()
    # Each step's running mean ends in the epoch's.
    batches = [call for call in recorder.seen if call[0] == "batch end"]
    assert batches[-1][3] == pytest.approx(recorder.logs["loss"])


@pytest.mark.slow  # Three runs, each traced.
def test_hooks_of_a_run_that_is_resumed(watched, tmp_path):
    """In the middle of an epoch."""
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, step=7)
        with pytest.raises(RuntimeError, match="power cut"):
            run(watched.config, tmp_path / "run", callbacks=[Recorder()])
    resumed = Recorder()
    run(watched.config, tmp_path / "run", callbacks=[resumed])
    assert_hooks(resumed, tmp_path / "run", 6, 3, 4)
    assert_same_checkpoint(tmp_path / "run", watched.folder)
    rows = table(tmp_path / "run")
    assert rows == table(watched.folder)
    assert all(np.isfinite(float(row["doubled"])) for row in rows)


def test_trackers_of_the_docs(watched):
    """Each row of the table arrives, under the number of its epoch."""
    mlflow, wandb = watched.mlflow, watched.wandb
    mlflow.start_run.assert_called_once_with(
        run_id=None, run_name="shapes-minc-0"
    )
    assert wandb.init.call_args.kwargs["config"] == watched.config.to_dict()
    logged = [call.args for call in mlflow.log_metrics.call_args_list]
    assert [epoch for _, epoch in logged] == [1, 2, 3]
    for row, (logs, _), call in zip(
        table(watched.folder),
        logged,
        wandb.log.call_args_list,
        strict=True,
    ):
        assert float(row["loss"]) == logs["loss"] == call.args[0]["loss"]
    mlflow.end_run.assert_called_once_with()
    wandb.finish.assert_called_once_with()


def test_stop_training_ends_the_run_with_the_epoch(tmp_path):
    summary = run(tiny_config(), tmp_path / "run", callbacks=[Stop()])
    assert summary["epoch"] == 2
    latest = Checkpoints(tmp_path / "run/checkpoints").latest
    assert latest.name == "step-00000008.npz"
    assert run(tiny_config(), tmp_path / "run") == summary


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([print], "number 0 is of type builtin_function_or_method."),
        ([Stop(), Stop], "number 1 is the class Stop."),
        (Stop(), "received <"),
        (None, "received None."),
        (
            [keras.callbacks.BackupAndRestore("x")],
            "run: callbacks: BackupAndRestore does not work here: a run goes",
        ),
        (
            [keras.callbacks.SwapEMAWeights()],
            "config.optimizer.use_ema=True leaves them",
        ),
    ],
)
def test_refused_before_there_is_a_folder(tmp_path, given, message):
    with pytest.raises(ValueError) as caught:
        run(tiny_config(), tmp_path / "run", callbacks=given)
    assert str(caught.value).startswith("run: callbacks")
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_who_watches_batches():
    assert watch_batches([keras.callbacks.History(), Stop()])
    assert watch_batches(
        [keras.callbacks.LambdaCallback(on_train_batch_begin=lambda *_: None)]
    )
    assert not watch_batches(
        [
            keras.callbacks.History(),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: None),
        ]
    )


MODULE = """
import keras

def nothing():
    return [keras.callbacks.History()]

def of_settings(config):
    config.epochs = 99
    return (keras.callbacks.LambdaCallback(),)

def optional(config=None, path="x"):
    assert config.epochs == 3 and path == "x"
    return []

def two(config, other):
    return []

def one_callback():
    return keras.callbacks.History()

value = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "own_watchers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def test_named_functions(module):
    config = tiny_config()
    for name, length in (("nothing", 1), ("of_settings", 1), ("optional", 0)):
        found = find_callbacks(f"own_watchers:{name}", "--callbacks", config)
        assert len(found) == length
    assert config.epochs == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_watchers:noting", "has no 'noting'; did you mean 'nothing'?"),
        ("own_watchers:value", "must name a function or class that can be"),
        ("own_watchers", "must be 'package.module:Name'; received 'own_wat"),
        ("nowhere:watch", "cannot be imported: ModuleNotFoundError"),
        ("own_watchers:two", "must take no argument, or the settings; it"),
        ("own_watchers:one_callback", "returns must be a list of keras.call"),
    ],
)
def test_named_functions_that_do_not_fit(module, name, message):
    with pytest.raises(ValueError) as caught:
        find_callbacks(name, "--callbacks", tiny_config())
    assert str(caught.value).startswith("--callbacks")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
