"""Gradients and compiled functions, on the backend that Keras uses."""

import contextlib

import keras
import pytest

BACKEND = keras.backend.backend()
#: The ways in which a backend compiles, as values of `jit_compile`: JAX has
#: one, TensorFlow has graphs without and with XLA.
COMPILED = {"tensorflow": (False, True), "jax": (True,)}[BACKEND]


def needs_tensorflow(reason):
    """Marks a test that is skipped on another backend."""
    return pytest.mark.skipif(BACKEND != "tensorflow", reason=reason)


def tensorflow_or_skip(reason):
    """TensorFlow; on another backend the module that asks is skipped."""
    if BACKEND != "tensorflow":
        pytest.skip(reason, allow_module_level=True)
    import tensorflow as tf

    return tf


def float64():
    """A context in which arrays of float64 keep their digits."""
    if BACKEND != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


def compiled(function):
    """A function of tensors, compiled as Keras does it by default."""
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    function = tf.function(function)
    return lambda *inputs: function(*map(tf.convert_to_tensor, inputs))


def differentiated(function, layer=None, jit_compile=None, shape=None):
    """A function of tensors that returns its value and its gradients.

    Args:
        function: function of tensors; its value is a scalar.
        layer: Keras layer, built before the first call, whose variables a
            call may update.
        jit_compile: None: not compiled. Else one of `COMPILED`.
        shape: that of two tensors where it is not known in full, for which
            only TensorFlow compiles.

    Returns:
        Function of the same tensors: `(value, *gradients)`.
    """
    if BACKEND == "jax":
        return _on_jax(function, layer, jit_compile)
    return _on_tensorflow(function, jit_compile, shape)


def variable_gradients(function, model):
    """The value of a function without arguments, and its gradients.

    Args:
        function: function that calls the model; its value is a scalar.
        model: Keras model, built, whose other variables a call may update.

    Returns:
        `(value, gradients)`: a scalar, and an array a trainable variable.
    """
    variables = model.trainable_variables
    if BACKEND == "jax":
        import jax

        def stateless(values):
            mapping = zip(variables, values, strict=True)
            return _stateless(function, model.variables, mapping)

        values = [variable.value for variable in variables]
        # Operation by operation JAX compiles for longer.
        step = jax.jit(jax.value_and_grad(stateless, has_aux=True))
        (value, updated), gradients = step(values)
        _assign(model.variables, updated)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = function()
        gradients = tape.gradient(value, variables)
    return value, [keras.ops.convert_to_numpy(each) for each in gradients]


def _on_tensorflow(function, jit_compile, shape):
    import tensorflow as tf

    def step(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = function(*inputs)
        return value, *tape.gradient(value, inputs)

    if jit_compile is not None:
        signature = None if shape is None else [tf.TensorSpec(shape)] * 2
        step = tf.function(
            step, input_signature=signature, jit_compile=jit_compile
        )
    # To a compiled function arrays would be constants.
    return lambda *inputs: step(*map(tf.convert_to_tensor, inputs))


def _on_jax(function, layer, jit_compile):
    import jax

    def stateless(values, *inputs):
        variables = layer.variables if layer else []

        def value_of(inputs):
            mapping = zip(variables, values, strict=True)
            return _stateless(lambda: function(*inputs), variables, mapping)

        return jax.value_and_grad(value_of, has_aux=True)(inputs)

    compiled = jax.jit(stateless) if jit_compile else stateless

    def step(*inputs):
        variables = layer.variables if layer else []
        values = [variable.value for variable in variables]
        inputs = map(keras.ops.convert_to_tensor, inputs)
        (value, updated), gradients = compiled(values, *inputs)
        _assign(variables, updated)
        return value, *gradients

    return step


def _stateless(function, variables, mapping):
    """The value of a function, and what it makes of variables."""
    with keras.StatelessScope(mapping) as scope:
        value = function()
    return value, [scope.get_current_value(each) for each in variables]


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        if value is not None:
            variable.assign(value)
