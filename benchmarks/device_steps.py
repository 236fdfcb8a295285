"""Steps as functions that can be timed, on either of Keras's backends."""

import time
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

#: Operations of a pass that is timed at once, so that clocks matter little.
_SHORTEST = 0.02


def device_name() -> str:
    """The accelerator's name, or that of the processor."""
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform != "cpu":
            return device.device_kind
    else:
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            details = tf.config.experimental.get_device_details(gpu)
            return details.get("device_name", "GPU")
    return "cpu"


def step_call(
    model: keras.Model, kind: str, batch: int, size: int, classes: int
) -> Callable:
    """A train step as a function without arguments that waits for its end.

    Args:
        model: a compiled model.
        kind: `"supervised"`, `"views"` (uint8 images in), or a method.
        batch: int, images a step.
        size: int, of the images, in pixels.
        classes: int, of the labels.
    """
    rng = np.random.default_rng(0)
    shape = (batch, size, size, 3)
    if kind == "supervised":
        both = rng.uniform(0, 255, (2 * batch, *shape[1:])).astype("float32")
        data = (both, rng.integers(0, classes, 2 * batch))
    elif kind == "views":
        data = (rng.integers(0, 256, shape).astype("uint8"),)
    else:
        data = tuple(
            rng.uniform(0, 255, shape).astype("float32") for _ in range(2)
        )
    data = tuple(map(ops.convert_to_tensor, data))
    model.optimizer.build(model.trainable_variables)
    if keras.backend.backend() == "jax":
        return _jax_step(model, data)
    import tensorflow as tf

    step = tf.function(model.train_step, jit_compile=model.jit_compile)
    return lambda: step(data)["loss"].numpy()


def _jax_step(model, data):
    import jax

    step = jax.jit(model.train_step, donate_argnums=0)
    # Compiling twice is cheaper than a first call whose metrics are not built.
    held = {
        "state": tuple(
            [variable.value for variable in variables]
            for variables in (
                model.trainable_variables,
                model.non_trainable_variables,
                model.optimizer.variables,
                _metrics_variables(model, data),
            )
        )
    }

    def call():
        logs, held["state"] = step(held["state"], data)
        jax.block_until_ready(held["state"])
        return logs

    return call


def _metrics_variables(model, data):
    """Those of a model that Keras builds with the first batch, too."""
    if not model.built or model.metrics_variables == []:
        model._symbolic_build(data_batch=data)
    return model.metrics_variables


def objective_call(objective, batch: int, dim: int) -> Callable:
    """Value and gradient of an objective as a function without arguments."""
    rng = np.random.default_rng(0)
    z1, z2 = (
        ops.convert_to_tensor(rng.normal(size=(batch, dim)).astype("float32"))
        for _ in range(2)
    )
    objective(z1, z2)
    if keras.backend.backend() == "jax":
        import jax

        trainable = [v.value for v in objective.trainable_variables]
        states = [v.value for v in objective.non_trainable_variables]

        def loss(z1, z2, states):
            return objective.stateless_call(
                trainable, states, z1, z2, training=True
            )

        compiled = jax.jit(
            jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
        )
        return lambda: jax.block_until_ready(compiled(z1, z2, states))
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def gradients(z1, z2):
        with tf.GradientTape() as tape:
            tape.watch((z1, z2))
            loss = objective(z1, z2, training=True)
        return loss, tape.gradient(loss, (z1, z2))

    return lambda: gradients(z1, z2)[0].numpy()


def timed_in_turn(calls: dict[str, Callable], rounds: int) -> dict:
    """Seconds of each call, one list a name, all of a round in turn.

    Args:
        calls: functions that return when their work is done.
        rounds: int.

    Returns:
        Dict of lists of floats; short calls are repeated and averaged.
    """
    repeats = {}
    for name, call in calls.items():
        for _ in range(2):  # compile, and fill caches
            call()
        start = time.perf_counter()
        call()
        elapsed = time.perf_counter() - start
        repeats[name] = max(1, int(_SHORTEST / elapsed))
    seconds = {name: [] for name in calls}
    order = list(calls)
    for _ in range(rounds):
        for name in order:
            call = calls[name]
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            elapsed = time.perf_counter() - start
            seconds[name].append(elapsed / repeats[name])
        order = [*order[1:], order[0]]  # nothing is always the first
    return seconds


def forward_flops(model) -> int:
    """Operations of the products in one image's forward pass.

    A multiplication and an addition count as two. Normalisation, activations
    and pooling are left out, as usual.
    """
    total = 0
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Conv2D):
            height, width = layer.output.shape[1:3]
            total += 2 * height * width * int(np.prod(layer.kernel.shape))
        elif isinstance(layer, keras.layers.Dense):
            total += 2 * int(np.prod(layer.kernel.shape))
    return total


def matmul_rate(precision: str) -> float:
    """Operations per second of a large product, the best of ten."""
    name = device_name()
    side = 1024 if name == "cpu" else 8192
    a = ops.cast(ops.ones((side, side)), precision)
    count = 8

    def products(a):
        x = a
        for _ in range(count):
            x = ops.matmul(x, a) * ops.cast(1 / side, precision)
        return ops.sum(ops.cast(x, "float32"))

    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(products)
    else:
        import tensorflow as tf

        compiled = tf.function(products)
    times = timed_in_turn({"x": lambda: float(compiled(a))}, 10)["x"]
    return count * 2 * side**3 / min(times)
