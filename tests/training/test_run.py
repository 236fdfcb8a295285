"""Runs: what they leave, how they go on, what stops them."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import minc_tf
from minc_tf.training import (
    from_settings,
    load_run,
    read_config,
    run,
    tensorflow_images,
)

from .conftest import (
    assert_same_checkpoint,
    checkpoint_arrays,
    monitored_config,
    tiny_config,
)

EPOCHS, STEPS = 3, 4


def rows(folder, name="metrics.csv"):
    """A table of a run."""
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def half(interrupted, tmp_path):
    """A copy of the interrupted run."""
    return shutil.copytree(interrupted, tmp_path / "half")


@pytest.mark.slow  # Traces the run that the others look at.
def test_finished_run_leaves_its_files(finished):
    folder = finished.folder
    assert {path.name for path in folder.iterdir()} == {
        "checkpoints",
        "config.json",
        "embedding.npz",
        "events",
        "log.txt",
        "metrics.csv",
        "model.keras",
        "pictures",
        "report.html",
        "spectrum.csv",
        "summary.json",
        "timing.csv",
    }
    assert set(finished.beside) == {"elsewhere", "run"}
    assert finished.elsewhere == []
    # One file of the curves, one of each picture.
    assert len(list(folder.glob("events/*/events.out.tfevents.*"))) == 4
    projector = {path.name for path in folder.glob("events/embedding/*")}
    assert {"projector_config.pbtxt", "sprite.png"} < projector
    saved = read_config(folder).to_dict()
    assert saved["encoder"] == {"name": "small_resnet", "filters": [8]}
    assert saved["batch_size"] == 16


def test_metrics_have_a_row_an_epoch(finished):
    table = rows(finished.folder)
    assert [int(row["epoch"]) for row in table] == [1, 2, 3]
    assert [int(row["step"]) for row in table] == [4, 8, 12]
    for row in table:
        assert all(np.isfinite(float(value)) for value in row.values())
        value = -float(row["loss"]) - 1
        assert float(row["chi2_information"]) == pytest.approx(value, rel=1e-4)
    assert not {"seconds", "images_per_second"} & table[0].keys()
    # Warm-up of one epoch to the peak, and at the end the cosine's zero.
    rates = [float(row["learning_rate"]) for row in table]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[2] == pytest.approx(0.0, abs=1e-9)


def test_summary_is_the_last_row_and_more(finished):
    summary = json.loads((finished.folder / "summary.json").read_text())
    assert summary == finished.summary
    table = rows(finished.folder)
    for key in ("loss", "knn_accuracy", "chi2_information"):
        assert summary[key] == float(table[-1][key])
    assert summary["epoch"] == EPOCHS
    assert summary["step"] == EPOCHS * STEPS
    assert summary["images"] == 64
    assert summary["skipped_images"] == 0
    times = rows(finished.folder, "timing.csv")
    assert [row["epoch"] for row in times] == ["1", "2", "3"]
    seconds = sum(float(row["seconds"]) for row in times)
    assert summary["seconds"] == pytest.approx(seconds)
    assert summary["images_per_second"] > 0
    assert summary["versions"]["keras"] == keras.__version__


def test_pictures_show_views_and_neighbours(finished):
    sizes = {}
    for name in ("views", "neighbours"):
        with Image.open(finished.folder / "pictures" / f"{name}.png") as image:
            image.load()
            sizes[name] = (image.height, image.width)
            assert image.mode == "RGB"
            assert np.asarray(image).std() > 10
    # Cells of 32 + 2 pixels, twice as large, and the last gap.
    assert sizes["views"] == (3 * 68 + 4, 8 * 68 + 4)
    assert sizes["neighbours"] == (8 * 68 + 4, 9 * 68 + 4)


def test_saved_model_is_the_checkpoint(finished):
    whole = keras.models.load_model(finished.folder / "model.keras")
    from_checkpoint, config = load_run(finished.folder)
    assert isinstance(whole, minc_tf.MINCModel)
    assert config.epochs == EPOCHS
    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3))
    np.testing.assert_array_equal(
        whole.predict(images, verbose=0),
        from_checkpoint.predict(images, verbose=0),
    )
    np.testing.assert_array_equal(
        whole.objective.second_moment, from_checkpoint.objective.second_moment
    )


def test_what_a_run_leaves_has_the_statistics_of_its_last_weights(finished):
    model, config = load_run(finished.folder)
    source = tensorflow_images.load_sources(config)[1]
    (images,) = (batch["image"] for batch in source.examples(64))
    moving = [v for v in model.variables if "moving" in v.path]
    found = [v.numpy() for v in moving]
    minc_tf.models.recompute_statistics(model, [images])
    assert len(found) > 2
    for variable, value in zip(moving, found, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-4, atol=1e-5)


def test_finished_run_is_not_trained_again(finished, monkeypatch):
    def no_work(config):
        raise AssertionError("a finished run needs no data")

    monkeypatch.setattr(tensorflow_images, "load_sources", no_work)
    assert run(monitored_config(), finished.folder) == finished.summary


def test_resumed_run_ends_like_an_uninterrupted_one(finished, half, capsys):
    assert [row["epoch"] for row in rows(half)] == ["1"]
    summary = run(monitored_config(), half)
    assert_same_checkpoint(half, finished.folder)
    table = (half / "metrics.csv").read_bytes()
    assert table == (finished.folder / "metrics.csv").read_bytes()
    spectra = (half / "spectrum.csv").read_bytes()
    assert spectra == (finished.folder / "spectrum.csv").read_bytes()
    assert summary["step"] == EPOCHS * STEPS
    # The bar starts where the run does: 64 of 192 images.
    assert "33%" in capsys.readouterr().out


def test_interruption_after_the_last_epoch(plain, tmp_path):
    folder = shutil.copytree(plain, tmp_path / "run")
    before = json.loads((folder / "summary.json").read_text())
    for name in ("summary.json", "model.keras"):
        (folder / name).unlink()
    summary = run(tiny_config(), folder)
    times = {"ended"}
    assert {k: summary[k] for k in summary.keys() - times} == {
        k: before[k] for k in before.keys() - times
    }
    assert (folder / "model.keras").exists()


def test_overwrite_starts_the_same_run_anew(plain, tmp_path):
    folder = shutil.copytree(plain, tmp_path / "run")
    events = len(list(folder.glob("events/*/events.out.tfevents.*")))
    assert events > 0
    other = read_config(folder)
    other.seed = 7
    (folder / "config.json").write_text(json.dumps(other.to_dict()))
    old = folder / "checkpoints" / "step-00000099.npz"
    old.write_bytes(b"of the other run")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"seed: 7 -> 0.*--overwrite"):
        run(tiny_config(), folder)
    assert old.read_bytes() == b"of the other run"

    summary = run(tiny_config(), folder, overwrite=True)
    assert_same_checkpoint(folder, plain)
    before = json.loads((plain / "summary.json").read_text())
    assert summary["loss"] == before["loss"]
    assert read_config(folder).seed == 0
    assert (folder / "notes.txt").read_text() == "mine"
    # The events of the run before are gone.
    assert len(list(folder.glob("events/*/events.out.tfevents.*"))) == events


def test_load_run_of_a_half_trained_run(half):
    model, config = load_run(half)
    assert int(model.steps) == STEPS
    assert config.epochs == EPOCHS
    saved = checkpoint_arrays(half)
    moment = np.asarray(model.objective.second_moment)
    assert any(np.array_equal(moment, value) for value in saved.values())


def test_load_run_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no run: .*config\.json"):
        load_run(tmp_path)


def test_load_run_before_the_first_checkpoint(half):
    shutil.rmtree(half / "checkpoints")
    with pytest.raises(FileNotFoundError, match="no checkpoint yet"):
        load_run(half)


def test_nan_stops_the_run_and_spares_the_checkpoint(
    tmp_path, monkeypatch, capsys
):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay
    monkeypatch.setattr(
        from_settings.optimizers,
        "warmup_cosine",
        lambda *args, **kwargs: schedule([STEPS], [1e-3, 1e30]),
    )
    with pytest.raises(FloatingPointError) as caught:
        run(tiny_config(), tmp_path / "run")
    message = str(caught.value)
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000004.npz"
    assert "learning rate 1e+30" in message
    assert f"last good checkpoint: {checkpoint}" in message
    step = int(message.split(" at step ")[1].split()[0])
    assert STEPS < step <= STEPS + 3
    arrays = checkpoint_arrays(tmp_path / "run").values()
    assert all(np.all(np.isfinite(value)) for value in arrays)
    monkeypatch.undo()
    assert int(load_run(tmp_path / "run")[0].steps) == STEPS
    # The bar is closed, so that the error has a line of its own.
    assert capsys.readouterr().out.endswith("\n")


class FrozenViews(keras.layers.Layer):
    """Views that do not vary: in the pair, or from epoch to epoch."""

    def __init__(self, identical):
        super().__init__(dtype="float32")
        self.identical = identical

    def call(self, inputs):
        image = tf.cast(inputs["images"], "float32")
        return image, image if self.identical else 255.0 - image


@pytest.mark.parametrize(
    ("identical", "message"),
    [(True, "do not differ from each other"), (False, "between epochs")],
)
def test_views_that_do_not_vary(tmp_path, monkeypatch, identical, message):
    views = FrozenViews(identical)
    monkeypatch.setattr(tensorflow_images, "build_views", lambda config: views)
    with pytest.raises(ValueError, match=f"{message} in 8 images"):
        run(tiny_config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_views_of_a_plain_image_may_agree(tmp_path, monkeypatch):
    """Only when no image varies is the augmentation at fault."""
    made = tensorflow_images.build_views(tiny_config())

    def first_is_plain(inputs):
        keep = tf.range(tf.shape(inputs["images"])[0]) > 0
        mask = tf.cast(keep, "float32")[:, None, None, None]
        return tuple(mask * view for view in made(inputs))

    def claim(*args):
        raise StopIteration("reached")

    monkeypatch.setattr(
        tensorflow_images, "build_views", lambda config: first_is_plain
    )
    monkeypatch.setattr("minc_tf.training.workdir.Workdir.claim", claim)
    with pytest.raises(StopIteration, match="reached"):
        run(tiny_config(), tmp_path / "run")


def test_one_step_with_lars_micro_batches_and_byol_views(tmp_path):
    """Nothing of a run needs a second step, an epoch, or the defaults.

    In mixed precision, which leaves the policy of the process alone.
    """
    policy = keras.config.dtype_policy().name
    config = tiny_config(
        epochs=1,
        precision="mixed_bfloat16",
        micro_batches=2,
        data={"num_examples": 16},
        optimizer={"name": "lars", "scale_with_batch": True},
        monitor={"every": 0},
    )
    config.views = {"preset": "byol", "size": 24, "jitter_p": 0, "blur_p": 0}
    config.data.name, config.data.data_dir = "npz", str(tmp_path / "x.npz")
    images = np.random.default_rng(0).integers(0, 255, (20, 24, 24, 3))
    np.savez(tmp_path / "x.npz", images=images.astype("uint8"))
    summary = run(config, tmp_path / "run")
    assert summary["step"] == 1
    assert summary["images_per_second"] == pytest.approx(
        16 / summary["seconds"]
    )
    model, _config = load_run(tmp_path / "run")
    assert model.micro_batches == 2
    assert isinstance(model.optimizer, minc_tf.optimizers.LARS)
    assert model.encoder.input_shape == (None, 24, 24, 3)
    assert np.isfinite(summary["loss"])
    layer = model.encoder.get_layer("stem_conv")
    assert layer.compute_dtype == "bfloat16"
    assert layer.kernel.dtype == "float32"
    assert model.objective.second_moment.dtype == "float32"
    assert keras.config.dtype_policy().name == policy
