"""The table of methods, and the models that it builds."""

import math

import keras
import numpy as np
import pytest
from gradients import BACKEND, needs_tensorflow

import minc_tf
from minc_tf import objectives
from minc_tf.models import METHODS, CosineMomentum
from models import tiny, usual

WITH_PREDICTOR = {"byol", "linear_byol", "simsiam"}
WITH_TARGET = {"byol", "linear_byol", "minc_target", "tico"}
#: Methods of different steps; the others differ in a formula.
STEPS = {
    "tensorflow": ("minc", "minc_target", "simclr", "byol", "simsiam"),
    "jax": ("minc", "byol"),
}[BACKEND]


def small(method, **kwargs):
    """A method on the tiny encoder, with narrow heads."""
    keras.utils.set_random_seed(1)
    widths = usual.widths(method, 12, 6)["projector_widths"]
    model = minc_tf.build(
        method, tiny.encoder(), projector_widths=widths, **kwargs
    )
    model.compile(keras.optimizers.SGD(tiny.RATE), **tiny.EAGER)
    return model


def test_every_method_is_named():
    assert minc_tf.methods() == list(METHODS)
    assert {"minc", "simclr", "byol", "simsiam"} <= set(METHODS)


def test_every_objective_has_a_name_and_a_method():
    exported = {
        getattr(objectives, name)
        for name in objectives.__all__
        if name != "OBJECTIVES"
    }
    exported -= {objectives.Objective, objectives.Endpoint}
    assert set(objectives.OBJECTIVES.values()) == exported
    assert {row.objective for row in METHODS.values()} == exported


@pytest.mark.parametrize("method", STEPS)
def test_method_trains_and_survives_saving(method, tmp_path):
    steps = {"steps": 10} if method in WITH_TARGET else {}
    model = small(method, **steps)
    assert (model.predictor is not None) == (method in WITH_PREDICTOR)
    assert (model.target_encoder is not None) == (method in WITH_TARGET)
    before = tiny.snapshot(model.encoder)
    logs = tiny.fit(model)
    assert all(np.isfinite(value) for value in logs.values())
    moved = [
        np.abs(a - b).max()
        for a, b in zip(before, tiny.snapshot(model.encoder), strict=True)
    ]
    assert max(moved) > 0.0
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    again.run_eagerly = model.run_eagerly
    assert type(again) is type(model)
    assert tiny.fit(model, seed=1) == tiny.fit(again, seed=1)
    tiny.assert_equal(tiny.snapshot(model), tiny.snapshot(again))


@needs_tensorflow("it has no steps that are not compiled")
@pytest.mark.parametrize(
    "method", [name for name in METHODS if name not in STEPS]
)
def test_method_of_a_kind_with_other_arguments_trains(method):
    model = small(method)
    assert (model.predictor is not None) == (method in WITH_PREDICTOR)
    assert (model.target_encoder is not None) == (method in WITH_TARGET)
    before = tiny.snapshot(model.encoder)
    logs = model.train_on_batch(*tiny.views(), return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())
    kernel = zip(before, tiny.snapshot(model.encoder), strict=True)
    assert max(np.abs(a - b).max() for a, b in kernel) > 0.0
    arguments = METHODS[method].arguments
    assert arguments.items() <= model.objective.get_config().items()


def test_minc_is_a_minc_model():
    assert type(small("minc")) is minc_tf.MINCModel
    assert small("minc").objective.dim == 6


def test_published_heads():
    """Widths, and the layers in which the methods differ."""
    heads = {}
    for name in ("simsiam", "linear_byol", "byol", "vicreg"):
        model = minc_tf.build(name, tiny.encoder())
        heads[name] = model.projector, model.predictor
    projector, predictor = heads["simsiam"]
    assert [w.shape[-1] for w in predictor.weights if w.ndim == 2] == [
        512,
        2048,
    ]
    last = projector.layers[-1]
    assert isinstance(last, keras.layers.BatchNormalization)
    assert not last.center and not last.scale
    assert heads["simsiam"][0].output_shape == (None, 2048)
    (kernel,) = heads["linear_byol"][1].weights
    assert kernel.shape == (256, 256)
    assert len(heads["byol"][1].trainable_weights) == 5
    assert [v.ndim for v in heads["vicreg"][0].trainable_weights][-1] == 2


def test_simsiam_is_byol_without_momentum_and_without_a_copy():
    """A target that follows at once is the network itself."""
    models = {
        momentum: minc_tf.TwoViewModel(
            tiny.encoder(norm="batch"),
            tiny.linear(tiny.FEATURES, "projector"),
            objectives.NegativeCosine(),
            predictor=tiny.linear(tiny.DIM, "predictor"),
            target_momentum=momentum,
        )
        for momentum in (0.0, None)
    }
    byol, simsiam = models[0.0], models[None]
    parts = ("encoder", "projector", "predictor")
    for part in parts:
        source, copy = getattr(byol, part), getattr(simsiam, part)
        copy.set_weights(source.get_weights())
    byol.target_encoder.set_weights(byol.encoder.get_weights())
    byol.target_projector.set_weights(byol.projector.get_weights())
    for model in (byol, simsiam):
        model.compile(keras.optimizers.SGD(tiny.RATE), **tiny.EAGER)
        tiny.fit(model, batches=5)
    for part in parts:
        tiny.assert_close(
            getattr(byol, part).get_weights(),
            getattr(simsiam, part).get_weights(),
            1e-6,
        )


def test_target_momentum_rises_along_a_cosine():
    momentum = small("byol", steps=40).target_momentum
    for step in (0, 1, 17, 40, 41, 1000):
        done = min(step, 40)
        expected = 1.0 - 0.01 * (math.cos(math.pi * done / 40) + 1.0) / 2.0
        np.testing.assert_allclose(momentum(step), expected, rtol=1e-6)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(momentum)
    )
    assert again.get_config() == momentum.get_config()


def test_target_momentum_is_constant_without_a_number_of_steps():
    assert small("byol").target_momentum == 0.99
    assert small("byol", target_momentum=0.5).target_momentum == 0.5


def test_objective_arguments_change_the_methods_own():
    model = small("dcl_sq", temperature=0.3)
    assert model.objective.temperature == 0.3
    assert model.objective.similarity == "square"
    assert model.objective.decoupled


@pytest.mark.parametrize(
    "method, kwargs, message",
    [
        ("simclr", {"predictor_widths": (6,)}, "simclr has no predictor"),
        ("simsiam", {"target_momentum": 0.9}, "simsiam has no target network"),
        ("byol", {"predictor_widths": (12, 5)}, r"6; received \(12, 5\)"),
        ("byol", {"temperature": 0.1}, "'temperature' is no argument of Neg"),
        ("byol", {"steps": 0}, "steps must be an int >= 1; received 0"),
        ("byol", {"steps": 5, "target_momentum": 1.5}, r"\[0, 1\]; .* 1.5"),
        ("minc", {"dim": 7}, "dim=7"),
    ],
)
def test_bad_arguments(method, kwargs, message):
    with pytest.raises(ValueError, match=message):
        small(method, **kwargs)


def test_unknown_method_names_the_nearest():
    with pytest.raises(ValueError, match="'simclear'; did you mean 'simclr'"):
        minc_tf.build("simclear", tiny.encoder())


def test_encoder_without_features():
    images = keras.Input((4, 4, 3))
    maps = keras.Model(images, keras.layers.Conv2D(2, 1)(images))
    with pytest.raises(ValueError, match=r"features .*\(None, 4, 4, 2\)"):
        minc_tf.build("simclr", maps)


@pytest.mark.parametrize("start, steps", [(-0.1, 5), ("a", 5), (0.9, 2.5)])
def test_momentum_out_of_range(start, steps):
    with pytest.raises(ValueError, match="CosineMomentum: "):
        CosineMomentum(start, steps)
