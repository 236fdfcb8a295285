"""Runs that start from the weights of another."""

import shutil

import keras
import numpy as np
import pytest

import minc_tf
from minc_tf.training import from_settings, load_run, run
from minc_tf.training.checkpoints import step_of
from minc_tf.training.initial_weights import start_from
from minc_tf.training.workdir import Workdir

from .conftest import assert_same_checkpoint, stop_at, tiny_config


def weights_of(model):
    return [np.asarray(weight) for weight in model.encoder.weights]


def assert_same_weights(ones, others):
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def source(plain, tmp_path_factory):
    """A folder with a run, and its encoder in every form."""
    root = tmp_path_factory.mktemp("source")
    shutil.copytree(plain, root / "run")
    model, _ = load_run(root / "run")
    model.encoder.save(root / "encoder.keras")
    model.encoder.save_weights(root / "encoder.weights.h5")
    minc_tf.export.export_savedmodel(model, root / "export")
    return root


FORMS = (
    "run",
    "run/model.keras",
    "encoder.keras",
    "encoder.weights.h5",
    "export",
    "export/1",
)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_encoder(source, form):
    expected = weights_of(load_run(source / "run")[0])
    config = tiny_config(seed=5, target={"momentum": 0.9})
    config.predictor = {"widths": (8,)}
    config.objective = {"name": "negative_cosine"}
    model = from_settings.build_model(config)
    head = np.asarray(model.projector.weights[0])
    start_from(model, str(source / form))
    assert_same_weights(weights_of(model), expected)
    np.testing.assert_array_equal(model.projector.weights[0], head)
    # What the target network computes with, without another call.
    kept = [np.asarray(weight) for weight in model.target_encoder.weights]
    assert_same_weights(kept, expected)


def test_previous_weights_start_from_it(source):
    config = tiny_config(seed=5)
    config.objective = {"name": "minc", "dim": 8, "tracking": "corrected"}
    model = from_settings.build_model(config)
    assert model.embeds_previous
    start_from(model, str(source / "run"))
    for weight, kept in model._previous._pairs:
        np.testing.assert_array_equal(weight, kept)


def test_a_layer_that_was_adapted(tmp_path):
    """`Normalization` keeps its statistics beside its weights, too."""

    def model(adapted):
        keras.utils.set_random_seed(int(adapted))
        norm = keras.layers.Normalization()
        norm.build((None, 8, 8, 3))
        if adapted:
            norm.adapt(np.random.default_rng(0).uniform(0, 9, (9, 8, 8, 3)))
        layers = [keras.layers.Flatten(), keras.layers.Dense(4)]
        encoder = keras.Sequential([keras.Input((8, 8, 3)), norm, *layers])
        return minc_tf.build("minc", encoder, projector_widths=(4,), dim=4)

    first, second = model(True), model(False)
    first.encoder.save(tmp_path / "adapted.keras")
    start_from(second, str(tmp_path / "adapted.keras"))
    images = np.random.default_rng(1).uniform(0, 9, (2, 8, 8, 3))
    np.testing.assert_array_equal(first.encoder(images), second.encoder(images))


class Began(keras.callbacks.Callback):
    """Keeps the weights that the encoder begins with, and may go no further."""

    def __init__(self, cut=False):
        super().__init__()
        self.cut = cut

    def on_train_begin(self, logs=None):
        self.weights = weights_of(self.model)
        if self.cut:
            raise RuntimeError("power cut")


@pytest.mark.slow  # Three runs, each traced.
def test_a_run_resumes_without_it(source, tmp_path):
    """Killed before its first checkpoint, and after it is all that counts."""
    start = shutil.copytree(source / "run", tmp_path / "start")
    config = tiny_config(seed=5, epochs=2)
    config.init["from"] = str(start)
    expected, began = weights_of(load_run(start)[0]), Began()
    run(config, tmp_path / "whole", callbacks=[began])
    assert_same_weights(began.weights, expected)
    log = (tmp_path / "whole/log.txt").read_text()
    assert f"the encoder starts from {start}\n" in log
    with pytest.raises(RuntimeError, match="power cut"):
        run(config, tmp_path / "run", callbacks=[Began(cut=True)])
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, step=6)
        with pytest.raises(RuntimeError, match="power cut"):
            run(config, tmp_path / "run")
    shutil.rmtree(start)
    run(config, tmp_path / "run")
    assert_same_checkpoint(tmp_path / "run", tmp_path / "whole")
    assert step_of(load_run(tmp_path / "run")[0]) == 8
    other = tiny_config(seed=5, epochs=2)
    with pytest.raises(ValueError, match=r"init\.from: .* -> None"):
        run(other, tmp_path / "run")


@pytest.mark.parametrize("form", FORMS)
def test_another_architecture_is_refused(source, tmp_path, form):
    config = tiny_config(epochs=1)
    config.encoder = {"name": "small_resnet", "filters": (6,)}
    config.init["from"] = str(source / form)
    with pytest.raises(ValueError) as caught:
        run(config, tmp_path / "run")
    assert str(caught.value).startswith(f"config.init.from='{source / form}'")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_deeper_encoder_is_refused(source):
    config = tiny_config()
    config.encoder = {"name": "small_resnet", "filters": (8, 8)}
    for form in FORMS:
        model = from_settings.build_model(config)
        with pytest.raises(ValueError, match=r"config\.init\.from="):
            start_from(model, str(source / form))


def test_what_holds_no_weights(tmp_path):
    model = from_settings.build_model(tiny_config())
    (tmp_path / "photo.png").write_bytes(b"")
    (tmp_path / "broken.keras").write_bytes(b"no zip")
    Workdir(tmp_path / "run").claim(tiny_config())
    for name, error, message in (
        ("nothing", FileNotFoundError, "does not exist"),
        ("run", FileNotFoundError, "is a run without a checkpoint yet"),
        ("photo.png", ValueError, "must be the folder of a run, a .keras"),
        ("broken.keras", ValueError, "cannot be loaded as the encoder"),
        ("", ValueError, "must be the folder of a run, a .keras"),
    ):
        with pytest.raises(error, match=message) as caught:
            start_from(model, str(tmp_path / name))
        assert str(caught.value).startswith("config.init.from")
        assert "\n" not in str(caught.value)
