"""Objective, encoder, optimizer and views of one's own, by an import."""

import shutil
import sys

import numpy as np
import pytest
from training.conftest import assert_same_checkpoint, stop_at, tiny_config

from minc_tf import evaluation
from minc_tf.training import from_settings, load_run, run, validate

MODULE = """
import keras
from keras import layers, ops

import minc_tf


@keras.saving.register_keras_serializable(package="own")
class Pull(minc_tf.objectives.Objective):
    def __init__(self, *, weight=1.0, name=None):
        super().__init__(name=name)
        self.weight = weight

    def compute(self, z1, z2, training, sample_weight):
        return self.weight * ops.mean(ops.square(z1 - z2))

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


def encoder(image_shape, filters):
    images = keras.Input(image_shape)
    x = layers.Rescaling(1 / 127.5, -1.0)(images)
    return keras.Model(images, layers.Conv2D(filters, 3, 4)(x))


class Descent(keras.optimizers.SGD):
    pass


def views(strength=0.5):
    config = minc_tf.augment.ViewConfig(brightness=strength, grey_p=0.0)
    return config, config


def no_views():
    return 3


def no_model(image_shape):
    return keras.layers.Dense(2)
"""


def own_config():
    """Settings with everything from a module beside the project."""
    config = tiny_config(data={"test_split": "test"})
    config.objective = {"name": "own_parts:Pull", "weight": 2.0}
    config.encoder = {"name": "own_parts:encoder", "filters": 6}
    config.optimizer = {
        "name": "own_parts:Descent",
        "learning_rate": 0.01,
        "scale_with_batch": False,
        "warmup_epochs": 0,
        "momentum": 0.9,
    }
    config.views = {
        "preset": "own_parts:views",
        "size": 32,
        "strength": 0.2,
        "blur_p": 0.0,
        # Compiled by XLA for each run.
        "jitter_p": 0.0,
    }
    return config


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """The module, where Python finds it."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_parts.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


@pytest.fixture
def own(module):
    return own_config()


@pytest.fixture(scope="module")
def whole(module, tmp_path_factory):
    """The folder of a run that was left alone."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(own_config(), folder, verbose=0)
    return folder


@pytest.mark.slow  # Two runs, each traced, and the one of `whole`.
def test_trains_resumes_and_is_loaded(own, whole, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, step=6)
        with pytest.raises(RuntimeError, match="power cut"):
            run(own, tmp_path / "run")
    run(own, tmp_path / "run", verbose=0)
    assert_same_checkpoint(tmp_path / "run", whole)
    model, config = load_run(tmp_path / "run")
    assert config.objective.name == "own_parts:Pull"
    assert type(model.objective).__name__ == "Pull"
    assert model.objective.weight == 2.0
    assert type(model.optimizer).__name__ == "Descent"
    assert model.encoder.output_shape == (None, 6)


def test_views_take_the_arguments_of_the_preset(own):
    configs, size = from_settings.view_configs(own)
    assert [each.brightness for each in configs] == [0.2, 0.2]
    assert [each.blur_p for each in configs] == [0.0, 0.0]
    assert size == 32


def test_export(whole, tmp_path, command, monkeypatch):
    """By test_docs a run of an own objective is evaluated and compared, too."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole, tmp_path / "run")
    done = command("export", "--workdir=run", "--name=own")
    assert done.code == 0, done.err
    served = evaluation.load_savedmodel("savedmodels/own")
    images = np.zeros((2, 32, 32, 3), "float32")
    assert served.signature("features")(images).shape == (2, 6)


WATCH = """
import keras

def watch(config):
    def note(epoch, logs):
        print("seen", config.objective.name, epoch, logs["loss"])
    return [keras.callbacks.LambdaCallback(on_epoch_end=note)]
"""
RECIPE = """
from training.conftest import tiny_config

def get_config():
    return tiny_config(epochs=1)
"""


def test_callbacks_of_a_command(tmp_path, command, monkeypatch):
    (tmp_path / "own_watch.py").write_text(WATCH)
    (tmp_path / "recipe.py").write_text(RECIPE)
    monkeypatch.syspath_prepend(tmp_path)
    flags = [f"--config={tmp_path}/recipe.py", f"--workdir={tmp_path}/run"]
    done = command("pretrain", *flags, "--callbacks=own_watch:wacht")
    assert done.code == 2
    assert done.err == (
        "error: --callbacks='own_watch:wacht': own_watch has no 'wacht'; did "
        "you mean 'watch'?\n"
    )
    assert not (tmp_path / "run").exists()
    done = command("pretrain", *flags, "--callbacks=own_watch:watch")
    assert done.code == 0, done.err
    assert "seen minc 0 " in done.out


def test_start_from_weights_by_a_flag(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.py").write_text(RECIPE)
    flags = [f"--config={tmp_path}/recipe.py", "--workdir=run"]
    done = command("pretrain", *flags, "--config.init.from=nothing")
    assert done.code == 2
    assert done.err == "error: config.init.from='nothing' does not exist.\n"
    done = command("pretrain", *flags, "--config.init.form=nothing")
    assert "did you mean config.init.from?" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        (
            "objective",
            {"name": "own_parts:Pul"},
            "config.objective.name='own_parts:Pul': own_parts has no 'Pul'; "
            "did you mean 'Pull'?",
        ),
        (
            "objective",
            {"name": "own_parts:encoder"},
            "config.objective.name must name a subclass of Objective; "
            "'own_parts:encoder' is of type function.",
        ),
        (
            "objective",
            {"name": "nowhere:Pull"},
            "config.objective.name='nowhere:Pull' cannot be imported: "
            "ModuleNotFoundError",
        ),
        (
            "objective",
            {"name": "own_parts:Pull", "wieght": 2.0},
            "config.objective.wieght is not a setting; did you mean "
            "config.objective.weight?",
        ),
        (
            "encoder",
            {"name": "own_parts:encoder"},
            "config.encoder.filters is missing",
        ),
        (
            "optimizer",
            {
                "name": "own_parts:Pull",
                "learning_rate": 0.1,
                "scale_with_batch": False,
                "warmup_epochs": 0,
            },
            "config.optimizer.name must name a subclass of Optimizer; "
            "'own_parts:Pull' is the class Pull.",
        ),
        (
            "views",
            {"preset": "own_parts", "size": 32},
            "config.views.preset must be one of",
        ),
        (
            "views",
            {"preset": "own_parts:no_views", "size": 32},
            "config.views.preset='own_parts:no_views' must give",
        ),
        (
            "encoder",
            {"name": "own_parts:no_model"},
            "build_encoder: 'own_parts:no_model' must return a Keras model",
        ),
    ],
)
def test_refused_before_there_is_a_folder(
    own, tmp_path, section, value, message
):
    own[section] = value
    with pytest.raises(ValueError) as caught:
        run(own, tmp_path / "run")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_function_that_tells_no_arguments(own):
    own.encoder = {"name": "builtins:dict"}
    with pytest.raises(ValueError, match="does not tell its arguments"):
        validate(own)


def test_the_current_folder_has_the_parts(tmp_path, command, monkeypatch):
    """As `python -m` has it, which a console script does not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in sys.path if path])
    (tmp_path / "beside.py").write_text(MODULE.replace('"own"', '"beside"'))
    (tmp_path / "recipe.py").write_text(
        "from minc_tf.training import default_config\n\n\n"
        "def get_config():\n"
        "    config = default_config()\n"
        '    config.objective = {"name": "beside:Pull", "wieght": 2.0}\n'
        "    return config\n"
    )
    done = command("pretrain", "--config=recipe.py", "--workdir=run")
    assert done.code == 2
    assert "did you mean config.objective.weight?" in done.err
