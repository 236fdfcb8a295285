"""What was saved is what is loaded, and training goes on from it."""

import json

import keras
import numpy as np
import pytest
from gradients import needs_tensorflow

from minc_tf import MINCModel, TwoViewModel
from minc_tf.models import mlp, small_resnet
from minc_tf.optimizers import LARS, warmup_cosine
from models import tiny

FULL = {
    "norm": "batch",
    "dropout": 0.3,
    "predictor": True,
    "target_momentum": 0.9,
}

SAME = needs_tensorflow("what is saved is the same on both backends")


def optimizer_state(model):
    return [np.array(v) for v in model.optimizer.variables]


@pytest.mark.parametrize(
    "name, kwargs",
    [
        ("minc", FULL),
        # With the weights of the step before.
        ("minc", {"norm": "batch", "dropout": 0.3}),
        pytest.param("minc_read_first", {"norm": "batch"}, marks=SAME),
        pytest.param(
            "spectral", {"dropout": 0.3, "micro_batches": 2}, marks=SAME
        ),
    ],
)
def test_training_goes_on_from_a_saved_model(name, kwargs, tmp_path):
    schedule = warmup_cosine(0.05, steps=20, warmup_steps=3)
    model = tiny.build(name, LARS(schedule), **kwargs)
    tiny.fit(model, 3)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")

    again.run_eagerly = model.run_eagerly
    assert type(again) is TwoViewModel
    # JSON has no tuples.
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())
    assert int(again.steps) == 3
    images = tiny.views(seed=4)[0]
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    tiny.assert_equal(again.get_weights(), model.get_weights())
    tiny.assert_equal(optimizer_state(again), optimizer_state(model))

    logs, logs_again = tiny.fit(model, 3, seed=9), tiny.fit(again, 3, seed=9)
    assert logs_again == logs
    tiny.assert_equal(tiny.snapshot(again), tiny.snapshot(model))
    tiny.assert_equal(optimizer_state(again), optimizer_state(model))


def test_weights_file_holds_the_random_states(tmp_path):
    model, other = tiny.build(**FULL), tiny.build(**FULL)
    tiny.fit(model, 3)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    tiny.assert_equal(other.get_weights(), model.get_weights())
    # Only with the generator's state do both draw the same masks.
    assert tiny.fit(other, 2, seed=9) == tiny.fit(model, 2, seed=9)
    tiny.assert_equal(tiny.snapshot(other), tiny.snapshot(model))


def test_weights_of_before_are_replaced_whole(tmp_path):
    """Also where the target, or Lambda, had moved on."""
    model = tiny.build(**FULL)
    model.save_weights(tmp_path / "start.weights.h5")
    start = tiny.snapshot(model)
    tiny.fit(model, 2)
    model.load_weights(tmp_path / "start.weights.h5")
    metrics = {id(v) for v in model.metrics_variables}
    for variable, value in zip(model.variables, start, strict=True):
        if id(variable) not in metrics:
            np.testing.assert_array_equal(np.array(variable), value)


def test_a_residual_minc_model_with_loss_scaling(tmp_path):
    """Loaded under another policy, it still scales the loss."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = MINCModel(
            small_resnet(image_shape=(8, 8, 3), filters=(4, 8)),
            mlp(8, (8, 4)),
        )
        model.compile(keras.optimizers.Adam(0.01), **tiny.EAGER)
        views = tiny.views(shape=(8, 8, 3))
        model.fit(*views, epochs=2, batch_size=8, verbose=0)
        model.save(tmp_path / "model.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    again = keras.models.load_model(tmp_path / "model.keras")
    again.run_eagerly = model.run_eagerly
    assert type(again) is MINCModel
    assert type(again.optimizer) is keras.optimizers.LossScaleOptimizer
    np.testing.assert_array_equal(
        again.predict(views[0], verbose=0), model.predict(views[0], verbose=0)
    )
    tiny.assert_equal(optimizer_state(again), optimizer_state(model))
    for each in (model, again):
        each.fit(*views, batch_size=8, verbose=0)
    # Threads of JAX add up convolutions in their own order.
    tiny.assert_close(again.get_weights(), model.get_weights(), 1e-5)


def test_a_model_that_was_not_compiled(tmp_path):
    model = TwoViewModel(
        tiny.encoder(),
        tiny.linear(tiny.FEATURES, "projector"),
        tiny.objective("spectral"),
    )
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    tiny.assert_equal(again.get_weights(), model.get_weights())
