"""The checks that every objective passes, whatever its formula."""

import inspect
import json

import keras
import numpy as np
import pytest
from gradients import BACKEND, COMPILED, differentiated
from keras import ops


def embeddings(batch, dim, seed=0, scale=1.0):
    """Two views that resemble each other, float32."""
    rng = np.random.default_rng(seed)
    z1 = rng.normal(size=(batch, dim), scale=scale)
    z2 = 0.7 * z1 + rng.normal(size=(batch, dim), scale=0.5 * scale)
    return z1.astype("float32"), z2.astype("float32")


def loss_and_gradients(objective, z1, z2, **kwargs):
    """Loss, d/dz1 and d/dz2 of one training step, as NumPy."""
    if not objective.built:
        objective.build(z1.shape, z2.shape)
    kwargs = {"training": True, **kwargs}
    step = differentiated(lambda z1, z2: objective(z1, z2, **kwargs), objective)
    return tuple(map(ops.convert_to_numpy, step(z1, z2)))


def first_steps(objective, dim):
    """What `loss_and_gradients` gives of a fresh objective, batch by batch.

    On JAX compiled whole: a shape or dtype that few tests have would cost
    each operation anew.

    Args:
        objective: an objective that has seen no batch; after each call it
            is that again.
        dim: int, the dimension of the embeddings.

    Returns:
        Function of two embeddings: `(loss, d/dz1, d/dz2)`, as NumPy.
    """
    if not objective.built:
        objective.build((None, dim), (None, dim))
    step = differentiated(
        lambda z1, z2: objective(z1, z2, training=True),
        objective,
        True if BACKEND == "jax" else None,
    )
    initial = [variable.numpy() for variable in objective.variables]

    def first_step(z1, z2):
        outputs = tuple(map(ops.convert_to_numpy, step(z1, z2)))
        for variable, value in zip(objective.variables, initial, strict=True):
            variable.assign(value)
        return outputs

    return first_step


def assert_close(found, expected, tolerance=1e-5, floor=1e-6):
    """Largest error, relative to the largest value expected, or to a floor."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    error = np.max(np.abs(found - expected), initial=0.0)
    assert error <= tolerance * max(np.max(np.abs(expected)), floor), error


def finite_differences(function, z, directions, step=1e-5):
    """Derivatives of a float64 function of z along each direction."""
    return np.array(
        [
            (function(z + step * v) - function(z - step * v)) / (2.0 * step)
            for v in directions
        ]
    )


def directions_of(batch, dim, limit=120):
    """Every coordinate of a small array, random directions of a large one."""
    if batch * dim <= limit:
        return np.eye(batch * dim).reshape(-1, batch, dim)
    drawn = np.random.default_rng(0).normal(size=(24, batch, dim))
    return drawn / np.linalg.norm(drawn, axis=(1, 2), keepdims=True)


#: Batches and dimensions at which formulas are compared with references: one
#: negative and one dimension, more dimensions than pairs, more pairs. Of each
#: shape, and each dtype, JAX compiles every operation anew.
SIZES = [(2, 1), (7, 130), (24, 8)] if BACKEND == "tensorflow" else [(7, 130)]
DTYPES = ("float32", "bfloat16", "float16")


def run_reference_test(objective, slow, batch, dim):
    """Value and gradient of a first step equal those of a slow reference.

    Args:
        objective: an objective that has seen no batch.
        slow: function of two float64 NumPy arrays (batch, dim), the loss.
        batch: int.
        dim: int.
    """
    z1, z2 = embeddings(batch, dim)
    loss, g1, g2 = first_steps(objective, dim)(z1, z2)
    z1, z2 = z1.astype("float64"), z2.astype("float64")
    np.testing.assert_allclose(loss, slow(z1, z2), rtol=1e-5, atol=1e-6)
    directions = directions_of(batch, dim)
    for gradient, expected in (
        (g1, finite_differences(lambda z: slow(z, z2), z1, directions)),
        (g2, finite_differences(lambda z: slow(z1, z), z2, directions)),
    ):
        found = np.einsum("bd,nbd->n", gradient.astype("float64"), directions)
        assert_close(found, expected, floor=1.0 / batch)


def state(objective):
    """The values of all variables of an objective, by name."""
    return {v.path.split("/")[-1]: v.numpy() for v in objective.variables}


def run_objective_test(cls, kwargs, *, dim=6, batch=8, symmetric=True):
    """Checks an objective class: config, dtypes, shapes, jit, saving.

    Args:
        cls: subclass of `Objective`.
        kwargs: dict, constructor arguments, not all of them defaults.
        dim: int, the dimension of the embeddings that `kwargs` expect.
        batch: int, pairs in a batch.
        symmetric: bool, whether exchanging the views leaves the loss alone.
    """
    first_step = run_setting_test(
        cls, kwargs, dim=dim, batch=batch, symmetric=symmetric
    )
    z1, z2 = embeddings(batch, dim)
    _check_scalar_output(cls(**kwargs), z1, z2)
    _check_half_precision(cls, kwargs, z1, z2, first_step)
    _check_compiled(cls, kwargs, dim, batch)
    _check_evaluation_changes_nothing(cls(**kwargs), z1, z2)
    _check_shape_errors(cls, kwargs, z1, z2)
    _check_sample_weight(cls, kwargs, z1, z2)
    _check_functional_model(cls, kwargs, z1, z2)
    if BACKEND == "jax":
        _check_extremes(first_step, extremes(batch, dim), DTYPES[1:])


def run_setting_test(cls, kwargs, *, dim=6, batch=8, symmetric=True):
    """What further arguments can break in a class that passes all checks.

    Those are saved, the formula stays finite, and is that of both views. Of
    dtypes, compilation, shapes and models only the class knows. Takes what
    `run_objective_test` takes, and returns the `first_steps` of the class.
    """
    z1, z2 = embeddings(batch, dim)
    _check_config(cls, kwargs, z1, z2)
    first_step = first_steps(cls(**kwargs), dim)
    dtypes = DTYPES if BACKEND == "tensorflow" else DTYPES[:1]
    fewest = embeddings(max(cls.minimum_batch, 2), dim)
    _check_extremes(first_step, [fewest, *extremes(batch, dim)], dtypes)
    if symmetric:
        loss, g1, g2 = first_step(z1, z2)
        swapped, h2, h1 = first_step(z2, z1)
        np.testing.assert_allclose(loss, swapped, rtol=1e-5)
        assert_close(g1, h1)
        assert_close(g2, h2)
    return first_step


def _check_config(cls, kwargs, z1, z2):
    objective = cls(**kwargs, name="chosen")
    config = objective.get_config()
    arguments = set(inspect.signature(cls.__init__).parameters) - {"self"}
    assert set(config) == arguments
    assert {key: config[key] for key in kwargs} == kwargs
    assert config["name"] == "chosen"
    assert cls.from_config(config).get_config() == config

    text = json.dumps(keras.saving.serialize_keras_object(objective))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(again) is cls
    assert again.get_config() == config
    for _ in range(2):
        first = again(z1, z2, training=True)
        second = objective(z1, z2, training=True)
        np.testing.assert_array_equal(first, second)


def _check_scalar_output(objective, z1, z2):
    loss = objective(z1, z2, training=True)
    assert loss.shape == ()
    assert loss.dtype == "float32"
    for name, value in objective.metrics().items():
        assert isinstance(name, str)
        assert value.shape == ()
        assert value.dtype == "float32"
        assert np.isfinite(value)
    dim = z1.shape[1]
    symbolic = objective(keras.Input((dim,)), keras.Input((dim,)))
    assert symbolic.shape == ()
    assert symbolic.dtype == "float32"


def _check_half_precision(cls, kwargs, z1, z2, first_step):
    for dtype in ("float16", "bfloat16"):
        half1, half2 = ops.cast(z1, dtype), ops.cast(z2, dtype)
        loss, g1, g2 = first_step(half1, half2)
        assert loss.dtype == np.float32
        assert np.isfinite(loss)
        assert np.all(np.isfinite(g1.astype("float32")))
        assert np.all(np.isfinite(g2.astype("float32")))
        # Only the rounding of the inputs counts, not that of the formula.
        exact = cls(**kwargs)(
            ops.cast(half1, "float32"),
            ops.cast(half2, "float32"),
            training=True,
        )
        np.testing.assert_allclose(loss, exact, rtol=1e-6)
        # JAX rounds elsewhere where it compiles.
        loss = cls(**kwargs)(half1, half2, training=True)
        for policy in ("mixed_" + dtype, "float32"):
            keras.config.set_dtype_policy(policy)
            try:
                objective = cls(**kwargs)
            finally:
                keras.config.set_dtype_policy("float32")
            again = objective(half1, half2, training=True)
            np.testing.assert_array_equal(again, loss)
            assert all(v.dtype == "float32" for v in objective.variables)


def _check_compiled(cls, kwargs, dim, batch):
    batches = [embeddings(batch, dim, seed) for seed in range(2)]

    def outcome(jit):
        objective = cls(**kwargs)
        objective.build((None, dim), (None, dim))

        def loss(z1, z2):
            return objective(z1, z2, training=True)

        if BACKEND == "jax" and jit is None:
            # One operation at a time, of which JAX has the same gradients.
            results = [(loss(*pair),) for pair in batches]
        else:
            step = differentiated(loss, objective, jit)
            results = [step(*pair) for pair in batches]
        return results, state(objective)

    eager, eager_state = outcome(None)
    # What XLA compiles is traced as any graph is.
    for jit in COMPILED[-1:]:
        found, found_state = outcome(jit)
        for step, expected in zip(found, eager, strict=True):
            for a, b in zip(step, expected, strict=BACKEND == "tensorflow"):
                assert_close(a, b)
        for name, value in eager_state.items():
            assert_close(found_state[name], value)


def _check_evaluation_changes_nothing(objective, z1, z2):
    objective(z1, z2, training=True)
    before = state(objective)
    loss = objective(z2[::-1], z1, training=False)
    np.testing.assert_array_equal(objective(z2[::-1], z1), loss)
    for name, value in state(objective).items():
        np.testing.assert_array_equal(value, before[name])


def _check_shape_errors(cls, kwargs, z1, z2):
    batch, dim = z1.shape
    with pytest.raises(ValueError, match=r"shape \(batch, dim\)"):
        cls(**kwargs)(z1[:, None], z2[:, None])
    with pytest.raises(ValueError, match=rf"\({batch}, {dim}\) and \(5, "):
        cls(**kwargs)(z1, z2[:5])
    with pytest.raises(ValueError, match="same shape"):
        cls(**kwargs)(z1, np.concatenate([z2, z2], axis=1))
    if cls.minimum_batch > 1:
        few = cls.minimum_batch - 1
        with pytest.raises(ValueError, match=f"{cls.minimum_batch} pairs"):
            cls(**kwargs)(z1[:few], z2[:few])


def extremes(batch, dim):
    """Zeros and large values, as pairs of embeddings."""
    return [
        embeddings(batch, dim, scale=1e4),
        embeddings(batch, dim, scale=0.0),
        embeddings(batch, dim, scale=1e-12),
        (np.ones((batch, dim), "float32"),) * 2,
    ]


def _check_extremes(first_step, cases, dtypes):
    """Finite, in each dtype."""
    for case in cases:
        for dtype in dtypes:
            pair = (ops.cast(z, dtype) for z in case)
            loss, *gradients = first_step(*pair)
            assert np.isfinite(loss)
            for gradient in gradients:
                assert not np.any(np.isnan(gradient.astype("float32")))
                # A gradient can be too large for float16, no formula is.
                if dtype != "float16":
                    assert np.all(np.isfinite(gradient.astype("float32")))


def _check_sample_weight(cls, kwargs, z1, z2):
    batch = len(z1)
    if not cls.takes_sample_weight:
        with pytest.raises(ValueError, match="sample_weight is not supported"):
            cls(**kwargs)(z1, z2, sample_weight=ops.ones((batch,)))
        return
    plain = cls(**kwargs)(z1, z2, training=True)
    weights = 3.0 * ops.ones((batch,))
    weighted = cls(**kwargs)(z1, z2, training=True, sample_weight=weights)
    np.testing.assert_allclose(weighted, plain, rtol=1e-5)
    with pytest.raises(ValueError, match=r"shape \(\d+,\); received \(5,\)"):
        cls(**kwargs)(z1, z2, sample_weight=ops.ones((5,)))


def _check_functional_model(cls, kwargs, z1, z2):
    """Attached to a model, the loss is the model's, and is trained."""
    dim = z1.shape[1]
    inputs = [keras.Input((dim,)), keras.Input((dim,))]
    tower = keras.layers.Dense(dim, use_bias=False, name="tower")
    objective = cls(**kwargs)
    outputs = objective.attach(*map(tower, inputs))
    model = keras.Model(inputs, outputs)
    tower.set_weights([np.eye(dim, dtype="float32")])
    expected = cls(**kwargs)(z1, z2, training=True)
    model.compile(
        keras.optimizers.SGD(0.01), run_eagerly=BACKEND == "tensorflow"
    )
    history = model.fit([z1, z2], batch_size=len(z1), verbose=0).history
    np.testing.assert_allclose(history["loss"], [expected], rtol=1e-5)
    assert np.abs(tower.get_weights()[0] - np.eye(dim)).max() > 1e-6
