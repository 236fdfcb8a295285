"""The loss as an endpoint in somebody's own functional model."""

import keras
import numpy as np
import pytest
from gradients import BACKEND

from minc_tf.objectives import MINC, SpectralContrastive
from objectives.harness import assert_close, embeddings

FEATURES, DIM, BATCH = 5, 3, 16


def build(objective, weight=1.0):
    """Two towers with shared weights; a regression on the first view."""
    keras.utils.set_random_seed(0)
    inputs = [keras.Input((FEATURES,)), keras.Input((FEATURES,))]
    tower = keras.layers.Dense(DIM, use_bias=False, name="tower")
    z1, z2 = objective.attach(*map(tower, inputs), weight=weight)
    prediction = keras.layers.Dense(1, use_bias=False, name="prediction")(z1)
    return keras.Model(inputs, [prediction, z2])


def compile_model(model, optimizer):
    eager = BACKEND == "tensorflow"
    model.compile(optimizer, loss=["mse", None], run_eagerly=eager)
    return model


def data(batches, seed=0):
    x1, x2 = embeddings(BATCH * batches, FEATURES, seed)
    return [x1, x2], x1.sum(axis=1, keepdims=True)


def fit(model, batches, seed=0):
    x, y = data(batches, seed)
    return model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_one_step_is_the_task_gradient_plus_weight_times_the_loss(weight):
    objective = MINC(DIM, rate=1.0, self_pairs=True, mu=None)
    model = build(objective, weight)
    compile_model(model, keras.optimizers.SGD(1.0))
    tower, head = (
        model.get_layer(name).get_weights()[0]
        for name in ("tower", "prediction")
    )
    history = fit(model, 1).history

    (x1, x2), y = data(1)
    z1, z2 = x1 @ tower, x2 @ tower
    moment = (z1.T @ z1 + z2.T @ z2) / (2 * BATCH)
    repulsion = np.tril(moment)
    g1 = weight * 2 / BATCH * (-z2 + z1 @ repulsion.T)
    g2 = weight * 2 / BATCH * (-z1 + z2 @ repulsion.T)
    error = z1 @ head - y
    g1 = g1 + 2 / BATCH * error @ head.T
    value = -2 * np.sum(z1 * z2) / BATCH + np.sum(moment**2)
    np.testing.assert_allclose(
        history["loss"], [np.mean(error**2) + weight * value], rtol=1e-5
    )
    assert_close(
        model.get_layer("tower").get_weights()[0],
        tower - x1.T @ g1 - x2.T @ g2,
    )
    assert_close(objective.second_moment.numpy(), moment)


def test_second_moment_follows_the_batches_of_plain_fit():
    objective = MINC(DIM, tracking="mean", rate=0.5, mu=None)
    model = compile_model(build(objective), keras.optimizers.SGD(0.0))
    fit(model, 2)
    (x1, x2), _ = data(2)
    tower = model.get_layer("tower").get_weights()[0]
    moments = []
    for part in (slice(BATCH), slice(BATCH, None)):
        z = np.concatenate([x1[part] @ tower, x2[part] @ tower])
        moments.append(z.T @ z / len(z))
    assert_close(objective.second_moment.numpy(), sum(moments) / 2)

    before = objective.second_moment.numpy()
    model.evaluate(*data(2, seed=1), verbose=0)
    model.predict(data(1)[0], verbose=0)
    np.testing.assert_array_equal(objective.second_moment.numpy(), before)


@pytest.mark.parametrize("cls", [MINC, SpectralContrastive])
def test_a_saved_model_goes_on_where_it_stopped(cls, tmp_path):
    objective = (
        MINC(DIM, mu=None) if cls is MINC else SpectralContrastive(mu=2.0)
    )
    model = compile_model(build(objective, 0.5), keras.optimizers.Adam(0.01))
    fit(model, 3)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    again.run_eagerly = model.run_eagerly

    x, _ = data(2, seed=1)
    for a, b in zip(model(x), again(x), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(model.variables) == len(again.variables)
    for a, b in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    for each in (model, again):
        fit(each, 3, seed=2)
    for a, b in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_attach_passes_the_embeddings_through():
    inputs = keras.Input((DIM,)), keras.Input((DIM,))
    model = keras.Model(inputs, MINC(DIM, mu=None).attach(*inputs))
    z1, z2 = embeddings(4, DIM)
    out1, out2 = model([z1, z2])
    np.testing.assert_array_equal(out1, z1)
    np.testing.assert_array_equal(out2, z2)


def test_attach_checks_the_shapes_when_the_model_is_built():
    with pytest.raises(ValueError, match="same shape"):
        SpectralContrastive().attach(keras.Input((4,)), keras.Input((5,)))
