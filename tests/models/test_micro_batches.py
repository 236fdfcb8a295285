"""A batch in parts gives what the whole batch gives."""

import keras
import numpy as np
import pytest
from gradients import BACKEND, needs_tensorflow, variable_gradients
from keras import ops

import minc_tf
from models import tiny, usual
from models.test_step import minc_gradients

#: On JAX every operation of a step that is not compiled is, for each method.
COMPARED = {
    "tensorflow": (*usual.FAMILIES, "minc_target"),
    "jax": ("simclr", "byol"),
}[BACKEND]
#: 8 above, and 2 in the other tests.
COUNT = 4


def update(method, micro_batches):
    """The gradient, and the other state and logs after a step at rate one.

    Batch normalisation is in inference mode.
    """
    keras.utils.set_random_seed(1)
    model = minc_tf.build(
        method,
        tiny.encoder(norm="frozen"),
        micro_batches=micro_batches,
        **usual.widths(method, 32, tiny.DIM),
    )
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    model.compile(keras.optimizers.SGD(1.0), **tiny.EAGER)
    before = model.get_weights()
    logs = model.train_on_batch(*tiny.views(batches=2), return_dict=True)
    gradient, rest = [], [np.array(value) for value in logs.values()]
    after = model.get_weights()
    for variable, old, new in zip(model.weights, before, after, strict=True):
        if variable.trainable:
            gradient.append(old - new)
        else:
            rest.append(new)
    return gradient, rest


@pytest.mark.parametrize("method", COMPARED)
def test_every_method_in_parts(method):
    """The gradient, the loss, Lambda and the target are those of the batch.

    An error of the gradient is compared with its length: single entries are
    zero but for rounding.
    """
    gradient, rest = update(method, 1)
    length = np.sqrt(sum(np.sum(g**2) for g in gradient))
    assert length > 0.1
    found, found_rest = update(method, 8)
    for one, other in zip(gradient, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=0.0, atol=1e-6 * length)
    tiny.assert_close(found_rest, rest, 1e-6)


@pytest.mark.parametrize(
    "name, kwargs",
    [
        ("minc", {"norm": "frozen"}),
        ("minc_read_first", {"norm": "frozen"}),
        ("minc_read_first", {"predictor": True, "target_momentum": 0.9}),
        ("spectral", {"predictor": True, "target_momentum": 0.9}),
    ],
)
def test_parts_equal_the_whole_batch(name, kwargs):
    whole = tiny.build(name, **kwargs)
    logs = tiny.fit(whole, 2)
    parts = tiny.build(name, micro_batches=COUNT, **kwargs)
    found = tiny.fit(parts, 2)
    tiny.assert_close(tiny.snapshot(parts), tiny.snapshot(whole), 1e-6)
    for key, value in logs.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-6, atol=1e-6)


def test_both_passes_see_the_same_dropout():
    """By hand: the parts in one tape, each with the mask it drew."""
    count, batch = 2, tiny.BATCH
    by_hand, model = (
        tiny.build(dropout=0.5, micro_batches=count) for _ in range(2)
    )
    view1, view2 = tiny.views()
    parts = [
        np.concatenate(pair)
        for pair in zip(np.split(view1, 2), np.split(view2, 2), strict=True)
    ]
    seed = by_hand.encoder.layers[-1].seed_generator
    start = seed.state.numpy()

    def embed():
        halves = [ops.split(by_hand(part, training=True), 2) for part in parts]
        return [ops.concatenate(view) for view in zip(*halves, strict=True)]

    z1, z2 = map(np.array, embed())
    loss, g1, g2, _ = minc_gradients(z1, z2)
    seed.state.assign(start)
    variables = by_hand.trainable_variables

    def product():
        z1, z2 = embed()
        return ops.sum(z1 * g1) + ops.sum(z2 * g2)

    _, gradients = variable_gradients(product, by_hand)
    for variable, gradient in zip(variables, gradients, strict=True):
        variable.assign_sub(tiny.RATE * gradient)

    logs = tiny.fit(model)
    assert len(z1) == batch
    np.testing.assert_allclose(logs["loss"], loss, rtol=1e-5)
    found = [v.numpy() for v in model.trainable_variables]
    tiny.assert_close(found, [v.numpy() for v in variables], 1e-5)
    # The generator moved on as after one pass, and the next step draws anew.
    states = [
        np.array(each.encoder.layers[-1].seed_generator.state)
        for each in (model, by_hand)
    ]
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize("count", [1, 2])
def test_moving_statistics_move_once_a_part(count):
    model = tiny.build(norm="batch", micro_batches=count)
    dense = model.encoder.get_layer("dense")
    kernel = dense.kernel.numpy()
    views = [v.reshape(tiny.BATCH, -1) / 127.5 - 1.0 for v in tiny.views()]
    mean, variance = np.zeros(tiny.FEATURES), np.ones(tiny.FEATURES)
    for pair in zip(*(np.split(v, count) for v in views), strict=True):
        outputs = np.concatenate(pair) @ kernel
        mean = 0.9 * mean + 0.1 * outputs.mean(axis=0)
        variance = 0.9 * variance + 0.1 * outputs.var(axis=0)

    tiny.fit(model)
    norm = model.encoder.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-4)


@needs_tensorflow("on JAX all steps are compiled")
def test_parts_under_jit():
    whole = tiny.build(norm="frozen")
    compiled = tiny.build(
        norm="frozen", micro_batches=2, compile={"jit_compile": True}
    )
    for model in (whole, compiled):
        tiny.fit(model, 2)
    tiny.assert_close(compiled.get_weights(), whole.get_weights(), 1e-5)


def test_parts_that_do_not_divide_the_batch():
    model = tiny.build(micro_batches=4)
    views = [view[:6] for view in tiny.views()]
    message = "micro_batches=4 does not divide the batch.* batch of 6"
    with pytest.raises(ValueError, match=message):
        model.fit(*views, batch_size=6, verbose=0)


@needs_tensorflow("the size of a batch is always known on JAX")
def test_parts_that_do_not_divide_a_batch_of_unknown_size():
    import tensorflow as tf

    model = tiny.build("cosine", micro_batches=4, compile=tiny.GRAPH)
    unknown = tiny.pipeline([view[:6] for view in tiny.views()], 6)
    message = "micro_batches=4 does not divide the batch"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        model.fit(unknown, verbose=0)
