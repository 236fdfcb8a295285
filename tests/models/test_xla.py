"""The train step of every kind of method compiles whole, as a TPU requires.

XLA on the CPU stands in for a TPU. Like that it has no kernel for a call back
to Python. Unlike that it has dynamic shapes, and compiles anew where a shape
depends on the values of a batch; so the program is made from shapes alone, and
read. It is that of one device: collectives are not in it.
"""

import importlib
import re

import keras
import numpy as np
import pytest
from gradients import tensorflow_or_skip
from keras import layers

import minc_tf
from minc_tf import objectives
from minc_tf.optimizers import warmup_cosine
from models import tiny, usual

tf = tensorflow_or_skip("programs of TensorFlow; on JAX every step is XLA's")

#: XLA compiles a step of each kind.
pytestmark = pytest.mark.slow

SHAPE, SMALL_SHAPE = (8, 8, 3), (4, 4, 3)
#: The first step of a warm-up moves no weight.
STEPS = 2
#: Of the largest change of a variable; changes below SMALL_CHANGE, some of
#: which are rounding alone, are held against that. 1e-4 was found: the norm
#: behind a layer all but cancels the gradient of the layer's offset.
TOLERANCE, SMALL_CHANGE = 3e-4, 0.01
LOGS_TOLERANCE = 1e-4
#: What a TPU cannot run, or (float64) only slowly. Custom calls are kernels
#: outside XLA: there are none before it rewrites a program for the CPU.
OBSTACLE = re.compile(
    r"\[[^]]*<=|\bf64\[|"
    r" (?:custom-call|infeed|outfeed|send|recv|[gs]et-dimension-size)\("
)


def encoder():
    """Convolution - batch normalisation - ReLU - mean, for any image size."""
    inputs = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 127.5, -1.0, dtype="float32")(inputs)
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    x = layers.ReLU()(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


def small(method, compile=None, **kwargs):
    """A method with narrow heads; the same call gives the same weights."""
    keras.utils.set_random_seed(1)
    widths = usual.widths(method, 8, 6)["projector_widths"]
    # With a number of steps a target network's momentum is a schedule.
    model = minc_tf.build(
        method, encoder(), projector_widths=widths, steps=4, **kwargs
    )
    rate = warmup_cosine(usual.RATE, steps=4, warmup_steps=1)
    optimizer = usual.optimizer(method, model, rate)
    return prepared(model, optimizer, **(compile or {}))


def prepared(model, optimizer, **kwargs):
    """Compiles a model for training, and creates all its variables."""
    model.compile(optimizer, **kwargs)
    model.optimizer.build(model.trainable_variables)
    return model


def batch(crops=0, shape=SHAPE):
    """Two views (8, H, W, C), and up to two of (8, 4, 4, 3)."""
    views = [*tiny.views(shape=shape)]
    views += tiny.views(seed=1, shape=SMALL_SHAPE)[:crops]
    return [tf.constant(view) for view in views]


def compiled(model, views):
    """The train step under XLA for views of these shapes, and its program.

    Raises:
        ValueError: for a step without a program for all values of a batch.
    """
    shapes = [tf.TensorSpec(view.shape, view.dtype) for view in views]

    @tf.function(jit_compile=True, input_signature=shapes)
    def step(*views):
        return model.train_step(views)

    # Later stages hide dynamic shapes behind padding.
    return step, step.experimental_get_compiler_ir(*shapes)(stage="hlo")


def check_program(program):
    """Raises an AssertionError with what a TPU would not take."""
    assert "ENTRY" in program
    lines = (line.split(", metadata=")[0] for line in program.splitlines())
    assert [line.strip() for line in lines if OBSTACLE.search(line)] == []


def all_variables(model):
    return [*model.variables, *model.optimizer.variables]


def train(model, step, views):
    """Takes steps, and undoes them.

    Returns:
        (logs, changes): dict of the logs, and list of what was added to the
        variables of model and optimizer, in their order.
    """
    variables = all_variables(model)
    before = [variable.numpy() for variable in variables]
    model.reset_metrics()
    for _ in range(STEPS):
        logs = step(*views)
    changes = []
    for variable, value in zip(variables, before, strict=True):
        changes.append(variable.numpy() - value)
        variable.assign(value)
    return {name: float(value) for name, value in logs.items()}, changes


def check(model, views):
    """The compiled step suits a TPU and does what the plain one does."""
    step, program = compiled(model, views)
    assert " convolution(" in program
    check_program(program)
    logs, changes = train(model, step, views)
    assert all(np.isfinite(value) for value in logs.values())

    expected, expected_changes = train(
        model, lambda *views: model.train_step(views), views
    )
    assert logs == pytest.approx(expected, rel=LOGS_TOLERANCE)
    kernel = model.encoder.trainable_variables[0]
    for variable, change, wanted in zip(
        all_variables(model), changes, expected_changes, strict=True
    ):
        largest = np.abs(wanted).max(initial=SMALL_CHANGE)
        np.testing.assert_allclose(
            change,
            wanted,
            rtol=0.0,
            atol=TOLERANCE * largest,
            err_msg=variable.path,
        )
        if variable is kernel:
            assert np.abs(wanted).max() > 1e-4


@pytest.mark.parametrize("method", usual.KINDS)
def test_step(method):
    """One is run too, and that with most parts in `test_fit`.

    Of the others, which differ in a formula, the program is read; the formulas
    are run under XLA in tests/objectives.
    """
    if method == "minc":
        check(small(method), batch())
    else:
        check_program(compiled(small(method), batch())[1])


def test_step_in_parts():
    """Run in `test_parts_under_jit`."""
    check_program(compiled(small("minc", micro_batches=2), batch())[1])


def test_step_on_four_views():
    check_program(compiled(small("minc"), batch(crops=2))[1])


@pytest.fixture
def bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("bfloat16")
def test_step_in_bfloat16():
    _, program = compiled(small("minc"), batch())
    check_program(program)
    assert re.search(r" = bf16\[\S* convolution\(", program)


def test_residual_network(monkeypatch):
    """Its strides and maximum pooling, in the program alone; two blocks."""
    # The package has the function of that name.
    module = importlib.import_module("minc_tf.models.resnet")
    monkeypatch.setitem(module._DEPTHS, 18, ((1, 1), False))
    encoder = minc_tf.models.build_encoder("resnet18", (32, 32, 3))
    model = minc_tf.build("minc", encoder, projector_widths=(8, 6))
    prepared(model, keras.optimizers.SGD(usual.RATE))
    _, program = compiled(model, batch(shape=(32, 32, 3)))
    check_program(program)
    assert " select-and-scatter(" in program


def test_fit():
    """Keras's own way to the compiled step."""
    found, expected = (
        small("byol", compile=options)
        for options in ({"jit_compile": True}, {"run_eagerly": True})
    )
    views = tiny.views(STEPS, shape=SHAPE)
    logs, expected_logs = (
        model.fit(
            *views, batch_size=tiny.BATCH, shuffle=False, verbose=0
        ).history
        for model in (found, expected)
    )
    assert found.jit_compile
    assert set(logs) == set(expected_logs)
    for name, values in expected_logs.items():
        np.testing.assert_allclose(logs[name], values, rtol=LOGS_TOLERANCE)
    tiny.assert_close(found.get_weights(), expected.get_weights(), 1e-5)


class MeanOf(objectives.Objective):
    """The mean of a function of the products of both embeddings (B, d)."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def compute(self, z1, z2, training, sample_weight):
        return tf.reduce_mean(tf.cast(self.function(z1 * z2), tf.float32))


def printed(x):
    tf.print(x)
    return x


def count(x):
    """A number that depends on the values."""
    return tf.math.count_nonzero(x > 0.0, dtype=tf.int32)


@pytest.mark.parametrize(
    "function, sign",
    [
        (tf.abs, None),
        (lambda x: tf.py_function(tf.abs, [x], x.dtype), "EagerPyFunc"),
        (printed, "StringFormat"),
        (lambda x: tf.boolean_mask(x, x > 0.0), r"\[<=48"),
        (lambda x: x[: count(x) % 4], "set-dimension-size"),
        (lambda x: tf.zeros([count(x)]) * x[0, 0], "compile-time constant"),
        (lambda x: tf.linalg.eigvalsh(x @ tf.transpose(x)), "custom-call"),
        (lambda x: tf.cast(x, tf.float64) ** 2, r"f64\["),
    ],
    ids=[
        "good",
        "python",
        "print",
        "mask",
        "slice",
        "size",
        "kernel",
        "float64",
    ],
)
def test_what_a_tpu_does_not_take_is_found(function, sign):
    model = minc_tf.TwoViewModel(encoder(), layers.Dense(6), MeanOf(function))
    prepared(model, keras.optimizers.SGD(usual.RATE))
    if sign is None:
        check_program(compiled(model, batch())[1])
        return
    with pytest.raises((AssertionError, ValueError), match=sign):
        check_program(compiled(model, batch())[1])
