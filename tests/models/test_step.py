"""A step of `TwoViewModel` against the same step by hand."""

import keras
import numpy as np
import pytest
from gradients import BACKEND, variable_gradients
from keras import ops

from minc_tf import MINCModel
from minc_tf.models import mlp, small_resnet
from minc_tf.objectives import MINC, SpectralContrastive
from models import tiny


def minc_gradients(z1, z2):
    """First step of MINC in NumPy: loss, both gradients, Lambda."""
    batch = len(z1)
    own = (z1[:, :, None] * z1[:, None] + z2[:, :, None] * z2[:, None]) / 2
    moment = own.mean(axis=0)
    # Each image is repelled by the moment of the others.
    others = (batch * moment - own) / (batch - 1)
    repelled = [np.einsum("bi,bij,bj->b", z, others, z) for z in (z1, z2)]
    loss = np.mean(sum(repelled) / 2 - 2 * np.sum(z1 * z2, axis=1))
    held = np.tril(others)
    g1 = 2 / batch * (-z2 + np.einsum("bij,bj->bi", held, z1))
    g2 = 2 / batch * (-z1 + np.einsum("bij,bj->bi", held, z2))
    return loss, g1, g2, moment


def test_a_step_equals_a_tape_over_the_formula():
    """Both views in one pass of a residual network with batch statistics."""
    keras.utils.set_random_seed(0)
    encoder = small_resnet(image_shape=(8, 8, 3), filters=(4, 8))
    projector = mlp(8, (8, 5))
    objective = MINC(5, mu=None)
    model = MINCModel(encoder, projector, objective)
    model.compile(keras.optimizers.SGD(0.5), **tiny.EAGER)
    twin = keras.Sequential(
        [keras.models.clone_model(part) for part in (encoder, projector)]
    )
    twin.build((None, 8, 8, 3))
    weights = [*encoder.get_weights(), *projector.get_weights()]
    twin.set_weights(weights)

    view1, view2 = tiny.views(shape=(8, 8, 3))
    images = np.concatenate([view1, view2])
    z = twin(images, training=True)
    twin.set_weights(weights)
    z1, z2 = np.split(np.array(z, "float64"), 2)
    loss, g1, g2, moment = minc_gradients(z1, z2)
    upstream = np.concatenate([g1, g2]).astype("float32")
    _, gradients = variable_gradients(
        lambda: ops.sum(twin(images, training=True) * upstream), twin
    )
    for variable, gradient in zip(
        twin.trainable_variables, gradients, strict=True
    ):
        variable.assign_sub(0.5 * gradient)

    logs = model.train_on_batch(view1, view2, return_dict=True)
    np.testing.assert_allclose(logs["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(
        logs["chi2_information"], -loss - 1, rtol=1e-5, atol=1e-5
    )
    found = [*encoder.get_weights(), *projector.get_weights()]
    tiny.assert_close(found, twin.get_weights(), 2e-5)
    np.testing.assert_allclose(
        model.objective.second_moment.numpy(), moment, rtol=1e-4, atol=1e-6
    )
    assert int(model.steps) == 1


@pytest.mark.parametrize("regulariser", ["weights", "outputs"])
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_losses_of_the_layers_are_added_once(regulariser, micro_batches):
    """To the gradient and the loss, not to the information."""
    strength = 0.3
    penalty = keras.regularizers.L2(strength)
    where = {
        "weights": {"kernel_regularizer": penalty},
        "outputs": {"activity_regularizer": penalty},
    }[regulariser]
    in_a_graph = regulariser == "outputs" and micro_batches == 2
    options = {
        "compile": tiny.GRAPH if in_a_graph else tiny.EAGER,
        "micro_batches": micro_batches,
    }
    plain = tiny.build(**options)
    penalised = tiny.build(**options, **where)
    kernel = plain.encoder.get_layer("dense").kernel
    before = kernel.numpy()
    images = np.concatenate(tiny.views()).reshape(2 * tiny.BATCH, -1)
    images = images / 127.5 - 1.0
    if regulariser == "weights":
        penalty, gradient = np.sum(before**2), 2 * before
    else:
        # Keras divides by the batch, here of both views.
        outputs = images @ before
        penalty = np.sum(outputs**2) / len(images)
        gradient = 2 * images.T @ outputs / len(images)

    logs, logs_penalised = tiny.fit(plain), tiny.fit(penalised)
    found = kernel.numpy() - penalised.encoder.get_layer("dense").kernel.numpy()
    np.testing.assert_allclose(
        found, tiny.RATE * strength * gradient, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        logs_penalised["loss"] - logs["loss"], strength * penalty, rtol=1e-4
    )
    np.testing.assert_allclose(
        logs_penalised["chi2_information"],
        logs["chi2_information"],
        rtol=1e-5,
        atol=1e-5,
    )
    evaluated = penalised.evaluate(*tiny.views(), verbose=0, return_dict=True)
    bare = penalised.objective(
        *map(penalised.predict_on_batch, tiny.views()), training=False
    )
    np.testing.assert_allclose(
        evaluated["chi2_information"], -bare - 1.0, rtol=1e-5
    )
    assert evaluated["loss"] > float(bare)


def test_trainable_variables_of_frozen_parts_do_not_move():
    model = tiny.build()
    model.encoder.trainable = False
    model.compile(keras.optimizers.SGD(1.0), **tiny.EAGER)
    before = model.encoder.get_weights()
    projector = model.projector.get_weights()
    tiny.fit(model)
    tiny.assert_equal(model.encoder.get_weights(), before)
    assert np.abs(model.projector.get_weights()[0] - projector[0]).max() > 1e-4


def test_default_objective_has_the_dimension_of_the_projector():
    model = MINCModel(tiny.encoder(), tiny.linear(tiny.FEATURES, "projector"))
    assert isinstance(model.objective, MINC)
    assert model.objective.dim == tiny.DIM
    other = MINCModel(
        tiny.encoder(),
        tiny.linear(tiny.FEATURES, "projector"),
        SpectralContrastive(),
    )
    assert isinstance(other.objective, SpectralContrastive)
    with pytest.raises(ValueError, match=r"pass objective=MINC\(dim="):
        MINCModel(tiny.encoder(), keras.layers.Dense(5))


class Counting(MINCModel):
    """Counts its forward passes of whole batches of views."""

    passes = 0

    def embed_views(self, *views, **kwargs):
        self.passes += 1
        return super().embed_views(*views, **kwargs)


@pytest.mark.skipif(BACKEND == "jax", reason="diagnostics are TensorFlow's")
def test_one_forward_pass_serves_the_step_and_what_looks_at_it():
    from minc_tf.diagnostics import gradient_variance
    from minc_tf.evaluation import DiagnosticsMonitor
    from minc_tf.evaluation.monitors.collapse_causes import (
        gradient_reaches_targets,
    )

    parts = tiny.build()
    model = Counting(parts.encoder, parts.projector, parts.objective)
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    batches = [tiny.views(seed=seed) for seed in range(3)]
    curvature = DiagnosticsMonitor(batches, hessian_iterations=1)
    curvature.set_model(model)
    for call in (
        lambda: model.train_on_batch(*batches[0]),
        lambda: model.test_on_batch(*batches[0]),
        lambda: gradient_variance(model, batches, second_moment="own"),
        lambda: gradient_reaches_targets(model, batches[0][0]),
        curvature.measure,
    ):
        before = model.passes
        call()
        assert model.passes > before


@pytest.mark.skipif(BACKEND == "jax", reason="diagnostics are TensorFlow's")
def test_the_variance_of_the_gradient_leaves_the_losses_of_layers_out():
    from minc_tf.diagnostics import gradient_variance

    penalty = keras.regularizers.L2(0.3)
    batches = [tiny.views(seed=seed) for seed in range(3)]
    plain, penalised, active = (
        gradient_variance(tiny.build("spectral", **where), batches)
        for where in (
            {},
            {"kernel_regularizer": penalty},
            {"activity_regularizer": penalty},
        )
    )
    for found in (penalised, active):
        for name, value in plain.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4)
