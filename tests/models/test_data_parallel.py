"""Two devices of `keras.distribution` make what one makes, on JAX."""

import contextlib
import re

import keras
import numpy as np
import pytest
from gradients import BACKEND

import minc_tf
from models import tiny, usual

if BACKEND != "jax":
    pytest.skip("keras.distribution needs JAX", allow_module_level=True)
import jax

pytestmark = [
    pytest.mark.slow,  # JAX compiles each step for one device and for two.
    pytest.mark.skipif(
        jax.device_count() < 2,
        reason="one device; XLA_FLAGS=--xla_force_host_platform_device_count=2",
    ),
]

BATCHES = 4


def data_parallel():
    """The first two devices share each batch."""
    return keras.distribution.DataParallel(
        devices=keras.distribution.list_devices()[:2]
    )


def train(distribution, method):
    """A model after some steps, and its logs, on some devices."""
    keras.utils.clear_session()
    with distribution.scope() if distribution else contextlib.nullcontext():
        keras.utils.set_random_seed(1)
        encoder = tiny.encoder(norm="batch")
        model = minc_tf.build(method, encoder, **usual.widths(method, 8, 5))
        model.compile(keras.optimizers.SGD(0.01, global_clipnorm=1.0))
        logs = tiny.fit(model, BATCHES)
    return model, logs


def assert_same(two, one):
    (model2, logs2), (model1, logs1) = two, one
    assert logs2 == pytest.approx(logs1, rel=1e-5)
    kernel = model2.encoder.get_layer("dense").kernel
    assert len(kernel.value.sharding.device_set) == 2
    tiny.assert_close(model2.get_weights(), model1.get_weights(), 1e-5)


@pytest.mark.parametrize("method", ["minc", "byol"])
def test_a_step_is_that_of_one_device(method):
    """Statistics and moments are those of the global batch.

    So is the norm by which gradients are clipped. No objective knows of
    devices.
    """
    assert_same(train(data_parallel(), method), train(None, method))


@pytest.mark.parametrize("name, momentum", [("minc", None), ("spectral", 0.9)])
def test_in_parts(name, momentum):
    """Each device gives a share of its images to each part."""
    whole = tiny.build(name, target_momentum=momentum)
    logs = tiny.fit(whole, BATCHES)
    with data_parallel().scope():
        parts = tiny.build(name, target_momentum=momentum, micro_batches=2)
        found = tiny.fit(parts, BATCHES)
    assert_same((parts, found), (whole, logs))


def test_more_views():
    crops = [view[:, :2, :2] for view in tiny.views(BATCHES, seed=1)]
    views = (*tiny.views(BATCHES), *crops)
    results = []
    for scope in (data_parallel().scope(), contextlib.nullcontext()):
        with scope:
            model = tiny.build("spectral", pooled=True, predictor=True)
            model.fit(views, batch_size=tiny.BATCH, shuffle=False, verbose=0)
            logs = model.evaluate(
                views, batch_size=tiny.BATCH, verbose=0, return_dict=True
            )
            results.append((model, logs))
    assert_same(*results)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_no_image_moves_to_another_device(momentum):
    """Of MINC not even an embedding does: its moments are sums.

    Nor with the weights of the step before, which it has without a target.
    """
    distribution = data_parallel()
    with distribution.scope():
        model = tiny.build("minc", norm="batch", target_momentum=momentum)
        state = tiny.jax_state(model)
    views = tiny.views()
    layout = distribution.get_data_layout(views[0].shape).backend_layout
    with distribution.scope():
        data = tuple(jax.device_put(view, layout) for view in views)
        step = jax.jit(model.train_step).lower(state, data).compile()
    program = step.as_text()
    assert " all-reduce(" in program
    moves = r" (all-to-all|all-gather|collective-permute)\("
    assert re.findall(moves, program) == []


def test_parts_that_the_devices_cannot_share():
    with data_parallel().scope():
        model = tiny.build(micro_batches=8)
        message = "micro_batches=8 on 2 devices .* multiple of 16.* batch of 8"
        with pytest.raises(ValueError, match=message):
            tiny.fit(model)


def test_a_model_trained_on_two_devices_goes_on_with_one(tmp_path):
    with data_parallel().scope():
        model = tiny.build(norm="batch", predictor=True, target_momentum=0.9)
        tiny.fit(model, BATCHES)
        model.save(tmp_path / "model.keras")
        logs = tiny.fit(model, BATCHES, seed=1)
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_same((model, logs), (again, tiny.fit(again, BATCHES, seed=1)))
    with data_parallel().scope():
        outputs = model.predict(tiny.views()[0], verbose=0)
    expected = again.predict(tiny.views()[0], verbose=0)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
