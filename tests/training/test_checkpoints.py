"""Checkpoints: what is in them, and what a crash, a full disk, damage do."""

import os
import pathlib
import shutil
import types

import keras
import numpy as np
import pytest

import minc_tf
from minc_tf.training import Checkpoints, SaveCheckpoints, replica_means

from .conftest import tiny_config

SHAPE = (4, 4, 3)


def make_model(width=4, dropout=0.5, dtype=None):
    """A small compiled model with batch statistics and random generators."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(width, dtype=dtype),
            keras.layers.Dropout(dropout),
        ]
    )
    model = minc_tf.MINCModel(
        encoder,
        minc_tf.models.mlp(width, (5, 3)),
        minc_tf.objectives.MINC(dim=3, mu=None),
        target_momentum=0.9,
    )
    model.compile(keras.optimizers.Adam(1e-2))
    return model


def fit(model, *watchers, epochs=1):
    views = np.random.default_rng(0).uniform(0, 255, (2, 12, *SHAPE))
    model.fit(
        *views,
        batch_size=4,
        epochs=epochs,
        shuffle=False,
        callbacks=watchers,
        verbose=0,
    )


def variables(model):
    means = [v for mean in model.metrics for v in mean.variables]
    return [*model.variables, *model.optimizer.variables, *means]


def values(variables):
    return [keras.ops.convert_to_numpy(v) for v in variables]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model that is traced once, and its checkpoints of steps 3 and 6."""
    folder, model = tmp_path_factory.mktemp("trained"), make_model()
    fit(model, SaveCheckpoints(Checkpoints(folder)), epochs=2)
    return types.SimpleNamespace(
        folder=folder, model=model, values=values(variables(model))
    )


@pytest.fixture
def model(trained):
    """The model, whatever a test did to it, at step 0."""
    assign(trained.model, trained.values)
    trained.model.steps.assign(0)
    return trained.model


@pytest.fixture
def saved(model, trained, tmp_path):
    """The checkpoints, from which the model goes on."""
    folder = shutil.copytree(trained.folder, tmp_path / "checkpoints")
    assign(model, trained.values)
    return Checkpoints(folder)


def assign(model, values):
    for variable, value in zip(variables(model), values, strict=True):
        variable.assign(value)


def test_restore_gives_back_every_variable(model, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    fit(model, SaveCheckpoints(checkpoints))
    expected = values(variables(model))
    assert len(model._random_states()) == 1, "dropout"
    fit(model)
    other = make_model(dropout=0.1)
    for each in (model, other):
        assert checkpoints.restore(each) == 3
        for variable, value in zip(variables(each), expected, strict=True):
            np.testing.assert_array_equal(variable, value, variable.path)


def test_restored_model_trains_on_as_the_first(model, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    fit(model, SaveCheckpoints(checkpoints))
    again = make_model()
    checkpoints.restore(again)
    fit(model)
    fit(again)
    for one, other in zip(variables(model), variables(again), strict=True):
        np.testing.assert_array_equal(one, other, one.path)


def test_variables_have_names_that_say_what_they_are(saved):
    with np.load(saved.latest) as file:
        names = set(file.files)
    assert names >= {
        "model/steps",
        "encoder/dense/kernel",
        "encoder/seed_generator/seed_generator_state",
        "objective/minc/second_moment",
        "projector/projector_norm1/moving_mean",
        "target_encoder/dense/kernel",
        "target_projector/projector_norm1/moving_mean",
        "optimizer/adam/iteration",
        "optimizer/adam/sequential_dense_kernel_momentum",
    }
    # The same model again, whose layers Keras numbers on.
    other = make_model()
    assert other.encoder.layers[-2].name != "dense"
    assert saved.restore(other) == 6


def test_layers_of_one_class_are_counted(tmp_path):
    def stack():
        layers = [keras.layers.Dense(4), keras.layers.Dense(4)]
        encoder = keras.Sequential([keras.Input((4,)), *layers])
        head = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        model = minc_tf.MINCModel(
            encoder, head, minc_tf.objectives.MINC(3, mu=None)
        )
        model.compile(keras.optimizers.SGD(1e-2, momentum=0.9))
        return model

    first, other = stack(), stack()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(first)
    with np.load(checkpoints.latest) as file:
        assert {"encoder/dense/kernel", "encoder/dense/kernel:2"} < set(file)
        slots = [n for n in file.files if n.endswith("kernel_momentum:3")]
        assert len(slots) == 1, file.files
    checkpoints.restore(other)
    for one, two in zip(first.variables, other.variables, strict=True):
        np.testing.assert_array_equal(one, two, one.path)


def test_checkpoint_of_before_variables_had_names(saved, model):
    """They were numbered, in the order of the model and the optimizer."""
    with np.load(saved.latest) as file:
        state = dict(file)
    owners = (
        ("model", model.variables),
        ("optimizer", model.optimizer.variables),
    )
    old = {
        f"{owner}/{index:04d}": keras.ops.convert_to_numpy(variable)
        for owner, variables in owners
        for index, variable in enumerate(variables)
    }
    expected = values(variables(model))
    np.savez(saved.latest, means=state["means"], **old)
    other = make_model()
    assert saved.restore(other) == 6
    for variable, value in zip(variables(other), expected, strict=True):
        np.testing.assert_array_equal(variable, value, variable.path)
    # Of another model it is refused as any other.
    del old["model/0003"]
    np.savez(saved.latest, means=state["means"], **old)
    with pytest.raises(ValueError, match=r"holds \d+ variables and the model"):
        saved.restore(other)


def test_means_of_another_number_of_replicas(saved, model):
    """Two replicas, each with its own sums, seen by one."""
    with np.load(saved.latest) as file:
        state = dict(file)
    (means,) = state["means"]
    state["means"] = np.stack([means, means])
    state["means"][:, ::2] *= [[0.5], [1.5]]  # sums, not counts
    np.savez(saved.latest, **state)
    expected = [float(metric.result()) for metric in model.metrics]
    model.reset_metrics()
    saved.restore(model)
    found = [float(metric.result()) for metric in model.metrics]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for metric in model.metrics:  # as many steps as there were
        assert float(metric.count) == 3.0


def test_means_are_read_without_tracing(model, caplog):
    """At each checkpoint of a run, where TensorFlow would warn of it."""
    with caplog.at_level("WARNING", logger="tensorflow"):
        found = [replica_means.read(model) for _ in range(7)]
    assert not caplog.records
    expected = np.array([float(v) for v in model.metrics_variables])
    np.testing.assert_array_equal(found[-1], expected[np.newaxis])


def test_bfloat16_variables_survive(tmp_path):
    model = make_model(dtype="bfloat16")
    kernel = model.encoder.trainable_variables[0]
    assert kernel.dtype == "bfloat16"
    expected = np.array(keras.ops.cast(kernel, "float32"))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(model)
    kernel.assign(kernel * 2)
    checkpoints.restore(model)
    found = keras.ops.cast(kernel, "float32")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("keep", [1, 3])
def test_only_the_newest_are_kept(model, tmp_path, keep):
    checkpoints = Checkpoints(tmp_path, max_to_keep=keep)
    (tmp_path / "step-notes.npz").write_text("mine")
    fit(model, SaveCheckpoints(checkpoints, every_steps=2), epochs=3)
    # At steps 2, 3 (epoch), 4, 6 (both), 8, 9 (epoch).
    steps = [int(path.stem[5:]) for path in checkpoints.paths]
    assert steps == [2, 3, 4, 6, 8, 9][-keep:]
    assert len(list(tmp_path.iterdir())) == keep + 1


def test_at_least_one_is_kept(tmp_path):
    with pytest.raises(ValueError, match="max_to_keep must be an int >= 1"):
        Checkpoints(tmp_path, max_to_keep=0)


def test_nothing_to_restore(model, tmp_path):
    checkpoints = Checkpoints(tmp_path / "none")
    assert checkpoints.latest is None
    assert checkpoints.restore(model) == 0


@pytest.mark.parametrize(
    "moment", ["write", "flush", "rename"], ids=lambda moment: moment
)
def test_crash_while_writing_leaves_the_last_one(
    saved, model, monkeypatch, moment
):
    """Killed in the middle: what was begun is no checkpoint."""
    before = saved.latest.read_bytes()

    class Killed(BaseException):
        pass

    def killed(*args):
        raise Killed

    if moment == "write":
        opened = open

        def half(path, mode="r", **kwargs):
            file = opened(path, mode, **kwargs)
            if "w" in mode:
                file.write(before[: len(before) // 2])
                file.close()
                raise Killed
            return file

        monkeypatch.setattr("builtins.open", half)
    else:
        name = {"flush": "fsync", "rename": "replace"}[moment]
        monkeypatch.setattr(os, name, killed)
    model.steps.assign(9)
    with pytest.raises(Killed):
        saved.save(model)
    monkeypatch.undo()
    assert saved.latest.name == "step-00000006.npz"
    assert saved.latest.read_bytes() == before
    assert saved.restore(model) == 6
    # And what was left behind is in nobody's way.
    model.steps.assign(9)
    saved.save(model)
    assert saved.restore(model) == 9
    names = {path.name for path in saved.folder.iterdir()}
    assert names == {"step-00000006.npz", "step-00000009.npz"}


@pytest.mark.skipif(
    not pathlib.Path("/dev/full").exists(), reason="needs /dev/full"
)
def test_full_disk(saved, model):
    """The kernel says that the disk is full; the last checkpoint stays."""
    before = saved.latest.read_bytes()
    model.steps.assign(9)
    part = saved.folder / ".step-00000009.part.npz"
    part.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        saved.save(model)
    message = caught.value.strerror
    assert "cannot write checkpoint" in message
    assert f"the last good one is {saved.latest}" in message
    assert "\n" not in message
    assert not part.is_symlink()
    assert saved.latest.read_bytes() == before
    assert saved.restore(model) == 6


def test_weights_that_are_not_finite_are_not_saved(saved, model):
    kernel = model.projector.trainable_variables[0]
    kernel.assign(kernel * np.nan)
    model.steps.assign(9)
    message = r"step 9: .*/kernel is not finite; the last good one is"
    with pytest.raises(FloatingPointError, match=message):
        saved.save(model)
    assert saved.restore(model) == 6


def damage(data, how):
    if how == "empty":
        return b""
    if how == "half":
        return data[: len(data) // 2]
    if how == "text":
        return b"of another program"
    middle = len(data) // 2  # one bit
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("how", ["empty", "half", "text", "bit"])
def test_damaged_checkpoint(saved, model, how):
    path, before = (
        saved.paths[-1],
        values(variables(model)),
    )
    path.write_bytes(damage(path.read_bytes(), how))
    with pytest.raises(ValueError, match="it is damaged") as caught:
        saved.restore(model)
    message = str(caught.value)
    assert message.startswith(f"{path} is not a checkpoint of this run")
    assert message.endswith("remove it to go on from step-00000003.npz.")
    assert "\n" not in message
    for variable, value in zip(variables(model), before, strict=True):
        np.testing.assert_array_equal(variable, value)
    path.unlink()
    assert saved.restore(model) == 3


def test_checkpoint_of_another_model(saved):
    other = make_model(width=6)
    before = values(other.variables)
    with pytest.raises(ValueError, match=r"has the shape .*, in the model"):
        saved.restore(other)
    for variable, value in zip(other.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    smaller = minc_tf.MINCModel(
        other.encoder,
        minc_tf.models.mlp(6, (3,), norm=None),
        minc_tf.objectives.MINC(dim=3, mu=None),
    )
    smaller.compile(keras.optimizers.Adam())
    with pytest.raises(ValueError, match=r"holds \d+ variables and the model"):
        saved.restore(smaller)


def test_checkpoint_of_other_settings(model, tmp_path):
    fit(model)
    Checkpoints(tmp_path, tiny_config()).save(model)
    changed = tiny_config(optimizer={"learning_rate": 0.5}, epochs=7)
    message = (
        r"of other settings: epochs: 3 -> 7, optimizer.learning_rate: 0.001 "
        r"-> 0.5\); remove it to start anew"
    )
    with pytest.raises(ValueError, match=message):
        Checkpoints(tmp_path, changed).restore(model)
    # Where it runs, and how often it saves, is no part of what it is.
    moved = tiny_config(strategy="mirrored", checkpoint={"every_steps": 5})
    assert Checkpoints(tmp_path, moved).restore(model) == 3
