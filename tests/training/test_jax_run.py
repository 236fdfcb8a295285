"""Runs on JAX, from arrays.

Where the backend is TensorFlow, `test_on_jax` runs those that leave a folder in
a process of their own, and loads the folders.
"""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from compiling import ON_TWO_DEVICES
from gradients import BACKEND, needs_tensorflow
from PIL import Image

import minc_tf
from minc_tf.evaluation import CollapseError
from minc_tf.evaluation.monitors.collapse_causes import gradient_reaches_targets
from minc_tf.report import load_snapshot, read_spectra
from minc_tf.training import (
    PreemptedError,
    Progress,
    default_config,
    from_settings,
    jax_checks,
    jax_images,
    load_recipe,
    load_run,
    monitors,
    run,
    set_widths,
)
from minc_tf.training.checkpoints import step_of

from .conftest import assert_same_checkpoint, checkpoint_arrays, stop_at
from .test_own_callbacks import Recorder, assert_hooks

on_jax = pytest.mark.skipif(BACKEND != "jax", reason="make test-jax")
RECIPE = pathlib.Path(__file__).parents[2] / "recipes" / "cifar10.py"
JAX = {
    "KERAS_BACKEND": "jax",
    "XLA_FLAGS": ON_TWO_DEVICES,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
SIZE, BATCH, STEPS, EPOCHS = 8, 8, 3, 2


def images(count, seed):
    """Images of three colours, and which one it is."""
    labels = np.arange(count) % 3
    noise = np.random.default_rng(seed).integers(0, 120, (count, SIZE, SIZE, 3))
    colours = 120 * np.eye(3, dtype=int)[labels][:, None, None]
    return (noise + colours).astype("uint8"), labels


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    path = tmp_path_factory.mktemp("arrays") / "tiny.npz"
    names = ("x_train", "y_train", "x_test", "y_test")
    # One image more than the batches take.
    arrays = (*images(STEPS * BATCH + 1, 0), *images(12, 1))
    np.savez(path, **dict(zip(names, arrays, strict=True)))
    return path


def made_tiny(config, npz, **changes):
    """Any settings, for small images, networks and batches."""
    config.unlock()
    config.data.name, config.data.data_dir = "npz", str(npz)
    config.augment.where = "device"
    config.batch_size, config.epochs = BATCH, EPOCHS
    config.views.size = SIZE
    config.encoder = {"name": "small_resnet", "filters": (2,)}
    config.monitor.k = 3
    hidden = (4,) if len(config.predictor.get("widths", ())) > 1 else None
    set_widths(config, (8, 4), hidden)
    config.update(changes)
    return config


def tiny_config(npz, **changes):
    """The settings of a run of two epochs of three steps."""
    return made_tiny(default_config(), npz, **changes)


def table(folder):
    """The rows of a run's metrics."""
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def save_features(folder):
    """What the encoder and projector of a run make of its test images."""
    model, _ = load_run(folder)
    np.savez(folder.parent / "features.npz", **features(model))


def features(model):
    pictures = images(12, 1)[0].astype("float32")
    return {
        name: keras.ops.convert_to_numpy(part(pictures, training=False))
        for name, part in (("encoder", model.encoder), ("model", model))
    }


def told_to_end_at(patch, step):
    """Makes a run get SIGTERM once a step is done."""
    move = Progress.on_train_batch_end

    def tell(self, batch, logs=None):
        move(self, batch, logs)
        if step_of(self.model) == step:
            os.kill(os.getpid(), signal.SIGTERM)

    patch.setattr(Progress, "on_train_batch_end", tell)


@pytest.fixture(scope="module")
def finished(npz, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    summary = run(tiny_config(npz), folder)
    save_features(folder)
    return folder, summary


def test_batches_are_a_function_of_seed_and_step():
    pictures = np.arange(10)[:, None, None, None]
    epochs = [
        np.concatenate(
            [
                next(jax_images.stream(pictures, 3, seed=5, first_step=step))
                for step in range(3 * epoch, 3 * epoch + 3)
            ]
        ).ravel()
        for epoch in (0, 1)
    ]
    for epoch in epochs:
        assert len(set(epoch)) == 9  # each at most once, one left out
    assert list(epochs[0]) != list(epochs[1])
    whole = jax_images.stream(pictures, 3, seed=5)
    found = np.concatenate([next(whole) for _ in range(6)]).ravel()
    np.testing.assert_array_equal(found, np.concatenate(epochs))
    other = next(jax_images.stream(pictures, 3, seed=6)).ravel()
    assert list(other) != list(found[:3])


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("data", "name", "cifar10", "on JAX the data is an .npz: config.data"),
        ("data", "data_dir", None, "must be the path of the .npz file"),
        ("data", "classes", ("cat",), "write an .npz of these classes"),
        ("augment", "where", "input", "on JAX the views are made on the dev"),
        (None, "strategy", "tpu", "it is 'default' .one device., 'mirrored'"),
        (None, "strategy", "multiworker", "received|is one of TensorFlow's"),
    ],
)
def test_settings_that_need_tensorflow(section, key, value, message):
    config = tiny_config("tiny.npz")
    part = config if section is None else config[section]
    part[key] = value
    with pytest.raises(ValueError, match=message) as caught:
        jax_checks.check_settings(config)
    name = key if section is None else f"{section}.{key}"
    assert str(caught.value).startswith(f"config.{name}")
    assert "\n" not in str(caught.value)


@on_jax
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment.where": "input", "views.small_crops": 2}, "augment.where="),
        ({"data.service": "localhost:5000"}, "data.service='localhost"),
        ({"data.data_dir": "none.npz"}, "there is no file"),
        ({"data.split": "validation"}, "needs an array 'x_validation'"),
        ({"batch_size": 64}, "larger than the data set: 25 images in tiny/"),
        ({"views.size": 4}, "differs from the images of tiny/train"),
        ({"monitor.k": 99}, "more than the 25 images"),
        ({"batch_size": 7, "strategy": "mirrored"}, "shared by 2 replicas"),
        ({"distribute.devices": 2}, "needs config.strategy='mirrored'"),
        (
            {"strategy": "mirrored", "distribute.devices": 3},
            "at most the 2 devices",
        ),
    ],
)
def test_refused_before_work_starts(npz, tmp_path, changes, message):
    config = tiny_config(npz)
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = config
        for part in sections:
            section = section[part]
        section[name] = value
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@on_jax
def test_folder_of_a_run(finished):
    folder, summary = finished
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "checkpoints",
        "config.json",
        "embedding.npz",
        "log.txt",
        "metrics.csv",
        "model.keras",
        "pictures",
        "report.html",
        "spectrum.csv",
        "summary.json",
        "timing.csv",
    }
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert summary["versions"]["backend"] == "jax"
    assert summary["collapse"] == ""
    rows = table(folder)
    assert [int(row["step"]) for row in rows] == [STEPS, 2 * STEPS]
    for row in rows:
        assert all(np.isfinite(float(value)) for value in row.values())
    for name in ("loss", "embedding_std", "embedding_rank", "knn_accuracy"):
        assert summary[name] == float(rows[-1][name])
    log = (folder / "log.txt").read_text()
    assert log.count("not made on JAX: TensorBoard events\n") == 1
    model = keras.models.load_model(folder / "model.keras")
    for name, value in features(model).items():
        with np.load(folder.parent / "features.npz") as saved:
            np.testing.assert_array_equal(value, saved[name])


@on_jax
def test_diagnostics_of_held_out_pairs(finished, npz):
    """The same pairs of views at each pass, of images not trained on."""
    folder, summary = finished
    model, config = load_run(folder)
    source = jax_images.ArrayImages(config, None)
    assert len(source.test) == 12
    count = config.diagnostics.num_examples // BATCH
    pairs = source.view_pairs(source.test, BATCH, count)
    views = [np.concatenate(view) for view in zip(*pairs, strict=True)]
    np.testing.assert_array_equal(views[0][:BATCH], next(iter(pairs))[0])
    assert np.abs(views[0] - views[1]).max() > 10
    z1, z2 = (np.asarray(model(view, training=False)) for view in views)
    assert summary["alignment"] == pytest.approx(alignment(z1, z2), rel=1e-4)
    both = np.concatenate([z1, z2])
    expected = np.linalg.eigvalsh(both.T @ both / len(both))[::-1]
    epoch, found = list(read_spectra(folder / "spectrum.csv").items())[-1]
    assert epoch == EPOCHS
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    bounds = [
        summary[f"chi2_information_held_out{b}"] for b in ("_low", "_high")
    ]
    assert bounds[0] <= summary["chi2_information_held_out"] <= bounds[1]


def alignment(z1, z2):
    """The mean squared distance of pairs of unit vectors."""
    z1, z2 = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z1, z2))
    return np.mean(np.sum((z1 - z2) ** 2, axis=1))


@on_jax
def test_pictures_and_report(finished):
    folder, _ = finished
    sizes = {}
    for name in ("views", "neighbours"):
        with Image.open(folder / "pictures" / f"{name}.png") as image:
            sizes[name] = (image.height, image.width)
            assert np.asarray(image).std() > 10
    # Cells of 8 + 2 pixels, twice as large, and the last gap.
    assert sizes == {"views": (64, 164), "neighbours": (164, 184)}
    snapshot = load_snapshot(folder / "embedding.npz")
    # In the order of the seeded draw.
    counts = np.bincount(snapshot.labels)
    np.testing.assert_array_equal(counts, [4, 4, 4])
    assert snapshot.class_names == ("0", "1", "2")
    page = (folder / "report.html").read_text()
    assert "There is no map" not in page
    assert page.count("<svg") > 5
    assert "tensorflow" not in sys.modules or BACKEND == "tensorflow"


@on_jax
def test_the_alarm_ends_a_run(npz, tmp_path, monkeypatch):
    monkeypatch.setattr(monitors, "_ALARM_EVERY", 1)
    config = tiny_config(npz)
    config.objective = {"name": "negative_cosine"}
    config.diagnostics.alarm = "raise"
    with pytest.raises(CollapseError, match="the model has no predictor"):
        run(config, tmp_path / "run")


class WithoutStopGradient(minc_tf.TwoViewModel):
    """SimSiam without what keeps it from collapsing."""

    def embed_target(self, images, embeddings, training=None):
        return embeddings


@on_jax
@pytest.mark.parametrize("cls", [minc_tf.TwoViewModel, WithoutStopGradient])
def test_a_gradient_through_the_targets(cls):
    encoder = minc_tf.models.small_resnet(
        image_shape=(SIZE, SIZE, 3), filters=(2,)
    )
    model = cls(
        encoder,
        minc_tf.models.mlp(2, (4,)),
        minc_tf.objectives.NegativeCosine(),
        predictor=minc_tf.models.mlp(4, (4,)),
    )
    pictures = keras.ops.convert_to_tensor(images(4, 0)[0], "float32")
    reaches = gradient_reaches_targets(model, pictures)
    assert reaches == (cls is WithoutStopGradient)


def test_what_is_left_out():
    config = default_config()
    assert jax_checks.left_out(config) == ["TensorBoard events"]
    config.diagnostics.gradient_batches = 3
    assert "(diagnostics.gradient_batches)" in jax_checks.left_out(config)[1]


@on_jax
def test_goes_on_as_if_it_had_not_stopped(finished, npz, tmp_path):
    """Told to end in one epoch, and cut off in the next."""
    folder, config = tmp_path / "run", tiny_config(npz)
    with pytest.MonkeyPatch.context() as patch:
        told_to_end_at(patch, step=STEPS - 1)
        with pytest.raises(PreemptedError, match="goes on from") as caught:
            run(config, folder)
    assert caught.value.exit_code == 75
    assert STEPS > int(load_run(folder)[0].steps) >= STEPS - 1
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, step=2 * STEPS - 1)
        with pytest.raises(RuntimeError, match="power cut"):
            run(config, folder)
    assert int(load_run(folder)[0].steps) == STEPS
    summary = run(config, folder)
    whole, other = finished
    assert summary["loss"] == other["loss"]
    assert_same_checkpoint(folder, whole)
    for one in ("metrics.csv", "config.json", "spectrum.csv"):
        assert (folder / one).read_text() == (whole / one).read_text()
    assert run(config, folder) == summary


@on_jax
def test_own_callbacks_see_the_model_of_their_step(finished, npz, tmp_path):
    """The devices, which otherwise are a step ahead, wait for them."""
    recorder, folder = Recorder(), tmp_path / "run"
    run(tiny_config(npz), folder, callbacks=[recorder])
    assert_hooks(recorder, folder, 0, EPOCHS, STEPS)
    assert_same_checkpoint(folder, finished[0])


@on_jax
def test_nan_stops_the_run_at_its_step(npz, tmp_path, monkeypatch):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay
    monkeypatch.setattr(
        from_settings.optimizers,
        "warmup_cosine",
        lambda *args, **kwargs: schedule([STEPS], [1e-3, float("inf")]),
    )
    # The update of step 5 takes the infinite rate, and step 6 sees it.
    with pytest.raises(FloatingPointError, match="is nan at step 6 with"):
        run(tiny_config(npz, epochs=3), tmp_path / "run")
    arrays = checkpoint_arrays(tmp_path / "run").values()
    assert all(np.all(np.isfinite(value)) for value in arrays)


@on_jax
def test_devices_share_the_batch(finished, npz, tmp_path):
    """Global batches: the same run, up to rounding."""
    folder = tmp_path / "run"
    run(tiny_config(npz, strategy="mirrored"), folder)
    for one, two in zip(table(finished[0]), table(folder), strict=True):
        assert float(two["loss"]) == pytest.approx(float(one["loss"]), rel=1e-3)
    assert keras.distribution.distribution() is None


@on_jax
def test_nearest_rows():
    from minc_tf.evaluation.protocols.knn import nearest_rows

    rng = np.random.default_rng(0)
    train, queries = rng.normal(size=(50, 6)), rng.normal(size=(7, 6))
    values, rows = nearest_rows(
        queries.astype("float32"), train.T.astype("float32"), 4
    )
    products = queries @ train.T
    np.testing.assert_array_equal(rows, np.argsort(-products)[:, :4])
    np.testing.assert_allclose(values, -np.sort(-products)[:, :4], rtol=1e-5)


CASES = {
    "minc": {"micro_batches": 2},
    # With SimSiam's predictor, of its own rate, test_backends trains.
    "byol": {"precision": "float32"},
}


@on_jax
@pytest.mark.parametrize("recipe", CASES)
def test_recipes(npz, tmp_path_factory, recipe):
    """A target, a predictor, LARS, parts, bfloat16."""
    changes = CASES[recipe]
    folder = tmp_path_factory.mktemp(recipe) / "run"
    config = load_recipe(f"{RECIPE}:{recipe}")
    config = made_tiny(config, npz, epochs=1, **changes)
    summary = run(config, folder, verbose=0)
    assert np.isfinite(summary["loss"])
    assert summary["step"] == STEPS
    save_features(folder)


@needs_tensorflow("it loads what a process on JAX has written")
@pytest.mark.slow  # JAX compiles two runs, in a process of its own.
def test_on_jax(tmp_path):
    """The same features, and more, from folders of runs on JAX."""
    pytest.importorskip("jax")
    base = tmp_path / "jax"
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts="]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    # What is loaded below; make test-jax runs the others, too.
    command += [
        f"{__file__}::{name}"
        for name in (
            test_folder_of_a_run.__name__,
            f"{test_recipes.__name__}[byol]",
        )
    ]
    result = subprocess.run(
        [*command, "--basetemp", base],
        env={
            **os.environ,
            **JAX,
            "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    for name in ("finished", "byol"):
        model, config = load_run(base / f"{name}0" / "run")
        assert int(model.steps) == config.epochs * STEPS
        with np.load(base / f"{name}0" / "features.npz") as saved:
            for key, value in features(model).items():
                np.testing.assert_allclose(value, saved[key], atol=1e-5)
