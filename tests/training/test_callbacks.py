"""The callbacks, one by one."""

import csv
import logging
import types
import warnings

import keras
import numpy as np
import pytest

import minc_tf
from minc_tf._progress import image_bar
from minc_tf.training import Checkpoints, SaveCheckpoints, callbacks
from minc_tf.training.checkpoints import step_of


@pytest.fixture
def model():
    """A model of a few weights, compiled."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((2, 2, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    )
    projector = minc_tf.models.mlp(4, (3,), norm=None)
    model = minc_tf.MINCModel(
        encoder, projector, minc_tf.objectives.MINC(dim=3, mu=None)
    )
    model.compile(keras.optimizers.SGD(1e-3))
    return model


def fit(model, *watchers, epochs=2):
    views = np.random.default_rng(0).uniform(0, 255, (2, 12, 2, 2, 3))
    model.fit(
        *views, batch_size=4, epochs=epochs, callbacks=watchers, verbose=0
    )


def stub(step=0, rate=0.1):
    """What a callback reads of a model."""
    return types.SimpleNamespace(
        steps=np.array(step),
        optimizer=types.SimpleNamespace(learning_rate=rate),
    )


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_csv_has_the_union_of_the_columns(tmp_path):
    table = callbacks.MetricsCSV(tmp_path / "m.csv")
    for epoch, logs in enumerate(({"loss": 2.0}, {"loss": 1.5, "knn": 0.5})):
        table.set_model(stub(step=10 * (epoch + 1)))
        table.on_epoch_end(epoch, logs)
    assert read(tmp_path / "m.csv") == [
        {
            "epoch": "1",
            "step": "10",
            "learning_rate": "0.1",
            "loss": "2.0",
            "knn": "",
        },
        {
            "epoch": "2",
            "step": "20",
            "learning_rate": "0.1",
            "loss": "1.5",
            "knn": "0.5",
        },
    ]


def test_metrics_csv_drops_what_is_trained_again(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("epoch,step,loss\n1,10,3.0\n2,20,2.0\n3,30,1.0\n")
    table = callbacks.MetricsCSV(path, first_epoch=2)
    table.set_model(stub(step=30))
    table.on_epoch_end(2, {"loss": 9.0})
    rows = [(row["epoch"], row["loss"]) for row in read(path)]
    assert rows == [("1", "3.0"), ("2", "2.0"), ("3", "9.0")]


def test_metrics_csv_of_a_new_run_starts_empty(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("epoch,loss\n1,3.0\n")
    assert callbacks.MetricsCSV(path).rows == []


def test_throughput_leaves_out_the_first_step(monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        callbacks.time, "perf_counter", lambda: clock.now, raising=True
    )

    def epoch(watcher, *durations):
        watcher.on_epoch_begin(0)
        for seconds in durations:
            clock.now += seconds
            watcher.on_train_batch_end(0)
        logs = {}
        watcher.on_epoch_end(0, logs)
        return logs

    watcher = callbacks.Throughput(batch_size=8)
    first = epoch(watcher, 10.0, 2.0, 2.0)
    assert first == {"seconds": 14.0, "images_per_second": 4.0}
    later = epoch(watcher, 1.0, 1.0)
    assert later == {"seconds": 2.0, "images_per_second": 8.0}
    # A run of one step has nothing else to tell.
    only = epoch(callbacks.Throughput(batch_size=8), 4.0)
    assert only == {"seconds": 4.0, "images_per_second": 2.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_metric_stops(tmp_path, bad):
    checkpoint = tmp_path / "step-00000012.npz"
    watcher = callbacks.StopOnNonFinite(Checkpoints(tmp_path))
    watcher.set_model(stub(step=17, rate=0.25))
    watcher.on_train_batch_end(0, {"loss": 1.0, "rate": np.float32(0.5)})
    message = f"effective_rank is {bad} at step 17 with learning rate 0.25; "
    with pytest.raises(FloatingPointError, match=f"{message}.*none was"):
        watcher.on_train_batch_end(1, {"loss": 1.0, "effective_rank": bad})
    checkpoint.touch()
    with pytest.raises(FloatingPointError) as caught:
        watcher.on_train_batch_end(1, {"effective_rank": bad})
    assert f"last good checkpoint: {checkpoint}. " in str(caught.value)


def test_non_finite_weights_are_not_saved(model, tmp_path):
    """The last step of an epoch breaks the weights after its finite loss."""
    checkpoints = Checkpoints(tmp_path)

    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if step_of(self.model) == 6:
                kernel = self.model.projector.trainable_variables[0]
                kernel.assign(kernel * np.nan)

    with pytest.raises(FloatingPointError, match="kernel is not finite"):
        fit(
            model,
            Break(),
            callbacks.StopOnNonFinite(checkpoints),
            SaveCheckpoints(checkpoints),
        )
    assert checkpoints.restore(model) == 3


def test_progress_counts_images_from_where_it_starts(capsys):
    bar = callbacks.Progress(batch_size=8, steps=10, first_step=4)
    bar.set_params({"epochs": 5})
    bar.on_train_begin()
    bar.on_epoch_begin(2)
    assert "epoch 3/5, tracing:  40%" in capsys.readouterr().out
    for loss in (3.0, 2.0):
        bar.on_train_batch_end(0, {"loss": loss})
    bar.on_epoch_end(0, {"loss": 2.0, "knn_accuracy": 0.25})
    bar.on_train_end()
    last = capsys.readouterr().out.split("\r")[-1]
    assert "60%" in last
    assert last.startswith("epoch 3/5:")
    assert "48.0/80.0" in last
    assert "loss=2.000, kNN=0.250" in last
    assert last.endswith("\n")


@pytest.fixture
def lines(caplog):
    """The library's log and Python's warnings, on standard output as a bar."""
    # Whatever absl has set for the process.
    caplog.set_level(logging.WARNING, "minc_tf")
    logger = logging.getLogger("minc_tf")
    before, handler = warnings.showwarning, logging.Handler()
    handler.emit = lambda record: print(record.getMessage())
    logger.addHandler(handler)
    warnings.showwarning = lambda text, *_: print("careful:", text)
    yield logger.getChild("somewhere")
    logger.removeHandler(handler)
    warnings.showwarning = before


def test_warnings_start_on_a_line_of_their_own(lines, capsys):
    handlers = list(logging.getLogger("minc_tf").handlers)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        show = warnings.showwarning
        bar = callbacks.Progress(batch_size=8, steps=10)
        bar.set_params({"epochs": 1})
        bar.on_train_begin()
        bar.on_epoch_begin(0)
        lines.warning("unreadable")
        lines.warning("collapsed")
        bar.on_train_batch_end(0, {"loss": 3.0})
        warnings.warn("deprecated", stacklevel=1)
        bar.on_train_batch_end(1, {"loss": 2.0})
        bar.on_train_end()
        lines.warning("at the end")
        assert warnings.showwarning is show
    assert logging.getLogger("minc_tf").handlers == handlers
    out = capsys.readouterr().out
    before, after = out.split("\nunreadable\ncollapsed\n")
    assert before.endswith("img/s]")
    assert "\ncareful: deprecated\n" in after
    assert "\n\n" not in out
    assert after.endswith("\nat the end\n")


def test_warnings_that_nobody_shows(capsys, monkeypatch, caplog):
    """Python writes them itself where no logging is set up, as ever."""
    caplog.set_level(logging.WARNING, "minc_tf")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger("minc_tf"), "handlers", [])
    with image_bar("embed", 10):
        logging.getLogger("minc_tf.somewhere").warning("unreadable")
        logging.getLogger("minc_tf.somewhere").info("a detail")
    assert capsys.readouterr().err == "unreadable\n"


def test_a_hidden_bar_changes_nothing():
    handlers = list(logging.getLogger("minc_tf").handlers)
    show = warnings.showwarning
    with image_bar("embed", 10, shown=False) as bar:
        bar.update(1)
        assert logging.getLogger("minc_tf").handlers == handlers
        assert warnings.showwarning is show


def test_progress_closes_twice_and_unopened():
    bar = callbacks.Progress(batch_size=8, steps=10)
    bar.close()
    bar.on_train_begin()
    bar.on_train_end()
    bar.close()
