"""`fit`, `evaluate` and `predict` in every form that Keras has."""

import keras
import numpy as np
import pytest
from gradients import BACKEND, needs_tensorflow
from gradients import compiled as compile_function
from keras import ops

from minc_tf import TwoViewModel
from minc_tf.objectives import SpectralContrastive
from models import tiny


@pytest.fixture
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@needs_tensorflow("Keras gives both backends the same batches")
def test_every_way_to_give_the_views():
    views = tiny.views(2)
    pairs = tiny.pipeline(views)
    nested = tiny.pipeline(views, nested=True)
    ways = {
        "arrays": lambda m, **kw: m.fit(*views, tiny.BATCH, **kw),
        "tuple": lambda m, **kw: m.fit(views, None, tiny.BATCH, **kw),
        "pairs": lambda m, **kw: m.fit(pairs, **kw),
        "nested": lambda m, **kw: m.fit(nested, **kw),
    }
    expected = tiny.build()
    logs = tiny.fit(expected, 2)
    assert set(logs) == {
        "loss",
        "chi2_information",
        "effective_rank",
        "rate",
        "second_moment_trace",
    }
    for name, way in ways.items():
        model = tiny.build()
        history = way(model, shuffle=False, verbose=0).history
        np.testing.assert_allclose(
            history["loss"][-1], logs["loss"], rtol=1e-6, err_msg=name
        )
        tiny.assert_close(tiny.snapshot(model), tiny.snapshot(expected), 1e-6)


@pytest.mark.parametrize("nested", [False, True])
def test_an_encoder_that_is_built_by_the_first_batch(nested):
    encoder = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)])
    projector = keras.layers.Dense(3)
    model = TwoViewModel(encoder, projector, SpectralContrastive())
    # Once in a graph.
    model.compile(optimizer="sgd", **(tiny.GRAPH if nested else tiny.EAGER))
    pairs = tiny.pipeline(tiny.views(), nested=nested)
    history = model.fit(pairs, verbose=0).history
    assert np.isfinite(history["loss"][0])
    assert model.predict(tiny.views()[0], verbose=0).shape == (8, 3)


def test_a_subclassed_encoder():
    @keras.saving.register_keras_serializable(package="test")
    class Encoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(4)

        def build(self, input_shape):
            self.dense.build((None, int(np.prod(input_shape[1:]))))
            self.built = True

        def call(self, images):
            return self.dense(keras.ops.reshape(images, (-1, 48)) / 255.0)

    encoder = Encoder()
    encoder(tiny.views()[0])
    model = TwoViewModel(encoder, keras.layers.Dense(3), SpectralContrastive())
    model.compile(optimizer="sgd", **tiny.EAGER)
    assert np.isfinite(tiny.fit(model, 2)["loss"])


def test_evaluate_changes_nothing_and_gives_the_loss_of_its_batch():
    model = tiny.build(
        norm="batch", dropout=0.3, predictor=True, target_momentum=0.9
    )
    tiny.fit(model, 2)
    before = tiny.snapshot(model)
    rate = float(model.objective.metrics()["rate"])
    metrics = {id(v) for v in model.metrics_variables}
    kept = [id(v) not in metrics for v in model.variables]
    logs = model.evaluate(
        *tiny.views(seed=7), batch_size=tiny.BATCH, verbose=0, return_dict=True
    )
    after = tiny.snapshot(model)
    for a, b, compare in zip(before, after, kept, strict=True):
        if compare:
            np.testing.assert_array_equal(a, b)
    assert logs["rate"] == pytest.approx(rate)

    images = np.concatenate(tiny.views(seed=7))
    outputs = model.predictor(model(images))
    t1, t2 = ops.split(model.target_projector(model.target_encoder(images)), 2)
    loss = model.objective(outputs, ops.concatenate([t2, t1]))
    np.testing.assert_allclose(logs["loss"], loss, rtol=1e-5)


@pytest.mark.parametrize(
    "policy", ["float32", "mixed_bfloat16", "mixed_float16"], indirect=True
)
def test_predict_is_the_projector_of_the_encoder(policy):
    """The model itself must not round the pixels first."""
    model = tiny.build(norm="batch", compile=tiny.GRAPH)
    tiny.fit(model)
    images = tiny.views()[0]
    predicted = model.predict(images, verbose=0)
    assert predicted.shape == (tiny.BATCH, tiny.DIM)

    parts = compile_function(lambda x: model.projector(model.encoder(x)))
    # JAX makes other programs of weights that are constants, as here.
    tolerance = {"tensorflow": 0.0, "jax": 1e-6}[BACKEND]
    tiny.assert_close(
        [predicted.astype("float32")],
        [ops.cast(parts(images), "float32")],
        tolerance,
    )


def test_integer_images():
    model, other = tiny.build(), tiny.build()
    view1, view2 = (view.astype("uint8") for view in tiny.views())
    logs = model.train_on_batch(view1, view2, return_dict=True)
    view1, view2 = view1.astype("float32"), view2.astype("float32")
    expected = other.train_on_batch(view1, view2, return_dict=True)
    assert logs == pytest.approx(expected, rel=1e-6)


def test_compiled_and_grouped_steps_equal_plain_ones():
    plain = tiny.build(norm="batch", target_momentum=0.9)
    tiny.fit(plain, 4)
    compiled = [({"steps_per_execution": 2}, 1e-6)]
    if BACKEND == "tensorflow":  # on JAX the plain ones are
        compiled.append(({"jit_compile": True}, 1e-4))
    for options, tolerance in compiled:
        other = tiny.build(norm="batch", target_momentum=0.9, compile=options)
        tiny.fit(other, 4)
        assert int(other.steps) == 4
        tiny.assert_close(other.get_weights(), plain.get_weights(), tolerance)


@pytest.mark.parametrize(
    "policy, micro_batches",
    [("mixed_bfloat16", 1), ("mixed_float16", 1), ("mixed_float16", 2)],
    indirect=["policy"],
)
def test_mixed_precision_is_near_float32(policy, micro_batches):
    optimizer = keras.optimizers.SGD(tiny.RATE)
    if policy == "mixed_float16":
        # The usual 2^15 overflows in the first steps, which are then skipped.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 2.0**8)
    model = tiny.build(optimizer=optimizer, micro_batches=micro_batches)
    logs = tiny.fit(model, 2)
    assert model.encoder.get_layer("dense").compute_dtype == policy[6:]
    assert all(v.dtype == "float32" for v in model.weights if v.trainable)
    assert model.objective.second_moment.dtype == "float32"
    moment = model.objective.second_moment.numpy()
    weights = [v.numpy() for v in model.trainable_variables]

    keras.config.set_dtype_policy("float32")
    reference = tiny.build(micro_batches=micro_batches)
    expected = tiny.fit(reference, 2)
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=0.05, atol=0.05)
    np.testing.assert_allclose(
        moment, reference.objective.second_moment, atol=0.05
    )
    # Gradients were unscaled: a factor would be seen at once.
    expected = [v.numpy() for v in reference.trainable_variables]
    tiny.assert_close(weights, expected, 0.02)


@pytest.mark.parametrize("policy", ["mixed_float16"], indirect=True)
def test_a_step_that_overflows_is_counted_but_not_taken(policy):
    scaled = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(1.0), initial_scale=2.0**120
    )
    assert isinstance(tiny.build().optimizer, type(scaled)), "by default"
    model = tiny.build(optimizer=scaled)
    before = [v.numpy() for v in model.trainable_variables]
    logs = tiny.fit(model, 2)
    assert np.isfinite(logs["loss"])
    tiny.assert_equal([v.numpy() for v in model.trainable_variables], before)
    assert int(model.steps) == 2
    assert int(scaled.inner_optimizer.iterations) == 0
    assert float(scaled.dynamic_scale) == 2.0**118
