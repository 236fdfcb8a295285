"""A program: methods trained on replicas, as on one device.

Run in a process of its own, because the number of (logical) devices cannot
change once TensorFlow has started.

    python -m models.replicas replicas output.npz
"""

import pathlib
import sys
import tempfile
import warnings

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import minc_tf
from minc_tf.augment import TwoViews, presets
from minc_tf.models import METHODS, mlp

#: A batch of 16 in 8 parts on 2 replicas has one pair a part.
BATCH, STEPS, SHAPE = 16, 20, (8, 8, 3)
#: Of the many steps. A larger one amplifies rounding by more than 1000.
RATE, MOMENTUM = 1e-3, 0.9

#: Lambda; a predictor and a target. In tests/objectives every objective is
#: compared.
COMPARED = ("minc", "byol")
#: Parts of a method's batch.
PARTS = {"minc": 8, "simclr": 8, "byol": 2}


def encoder(images=True, synchronized=True, dropout=0.0):
    """Convolution - BN - tanh - dropout, (B, 32); its input known or not."""
    # No ReLU here: an activation that rounds to the other side of zero would
    # change the gradient by more than the differences that are looked for.
    return keras.Sequential(
        [
            *([keras.Input(SHAPE)] if images else []),
            layers.Rescaling(1 / 127.5, -1.0),
            layers.Conv2D(2, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(
                momentum=0.9, synchronized=synchronized, name="encoder_norm"
            ),
            layers.Activation("tanh"),
            layers.Flatten(),
            layers.Dropout(dropout, seed=3, name="dropout"),
        ],
        name="encoder",
    )


def build(strategy, method, micro_batches=1, at_rest=False, eager=False):
    """A compiled model of a method; the same call gives the same weights.

    Args:
        strategy: `tf.distribute.Strategy`.
        method: string, one of `METHODS`.
        micro_batches: int, see `TwoViewModel`.
        at_rest: bool, batch normalisation in inference mode.
        eager: bool, steps are not compiled.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    # Wide enough that no image is left without a positive unit: its embedding
    # would be the bias alone, and the direction of that anything.
    widths = {"projector_widths": (32, 4)}
    predictor = METHODS[method].predictor
    if predictor is not None:
        widths["predictor_widths"] = (32, 4)[-len(predictor["widths"]) :]
    with strategy.scope():
        model = minc_tf.build(
            method, encoder(), micro_batches=micro_batches, **widths
        )
        for layer in model._flatten_layers() if at_rest else ():
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = False
        optimizer = keras.optimizers.SGD(1.0, momentum=MOMENTUM)
        model.compile(optimizer=optimizer, run_eagerly=eager)
        # Or Keras does it, by tracing the step once more.
        model.optimizer.build(model.trainable_variables)
    return model


def build_minc(strategy, optimizer=None, compile=None, **kwargs):
    """A compiled MINC model around `encoder(**kwargs)`."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = minc_tf.MINCModel(encoder(**kwargs), mlp(32, (4,)))
        optimizer = keras.optimizers.SGD(0.01, **(optimizer or {}))
        model.compile(optimizer=optimizer, **(compile or {}))
    return model


def fit(model, steps, **callbacks):
    """Trains on noise in a fixed order; returns the last epoch's logs."""
    rng = np.random.default_rng(0)
    view1 = rng.uniform(0, 255, (steps * BATCH, *SHAPE))
    view2 = np.clip(view1 + rng.normal(scale=40, size=view1.shape), 0, 255)
    views = view1.astype("float32"), view2.astype("float32")
    batches = tf.data.Dataset.from_tensor_slices(views)
    options = tf.data.Options()
    # On replicas, tf.data may take seconds to stop tuning itself.
    options.autotune.enabled = False
    batches = batches.batch(BATCH, drop_remainder=True).with_options(options)
    callback = keras.callbacks.LambdaCallback(**callbacks)
    history = model.fit(batches, verbose=0, callbacks=[callback]).history
    return named({name: values[-1] for name, values in history.items()})


def named(logs):
    """Logs among other results."""
    return {f"log {name}": float(value) for name, value in logs.items()}


def state(model, variables=None):
    """Variables, all weights by default, as (replicas, ...) each.

    These are Lambda, the moving statistics and the target too.
    """
    copies_of = model.distribute_strategy.experimental_local_results
    variables = model.weights if variables is None else variables
    return {
        f"{index:02} {variable.path}": np.stack(copies_of(variable.value))
        for index, variable in enumerate(variables)
    }


def gradient_and_state(model, start):
    """What a step of gradient descent at rate one did, from `start`.

    The gradient is by how much it reduced the trainable weights.
    """
    results = state(model)
    for key, variable in zip(start, model.weights, strict=True):
        if variable.trainable:
            results[f"gradient {key}"] = start[key] - results.pop(key)
    return results


def train(strategy, method):
    """One step at rate one; then many from the same weights, at `RATE`."""
    model = build(strategy, method)
    start, weights = state(model), model.get_weights()
    results = {"start": start}

    def restart(batch, logs):
        if batch > 0:
            return
        results["step"] = {**named(logs), **gradient_and_state(model, start)}
        model.set_weights(weights)
        for variable in model.optimizer.variables:
            variable.assign(np.zeros(variable.shape))
        model.optimizer.learning_rate = RATE

    # Both in one call of fit, because compiling a step is what takes time.
    results["fit"] = fit(model, 1 + STEPS, on_train_batch_end=restart)
    results["fit"].update(state(model))
    return results


def train_in_parts(strategy, method, count):
    """One step in `count` parts."""
    model = build(strategy, method, count, at_rest=True, eager=True)
    start = state(model)
    return {**fit(model, 1), **gradient_and_state(model, start)}


def warnings_of_norms(strategy, **kwargs):
    """What is said of batch normalisation where a model is built."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build_minc(strategy, **kwargs)
    found = [f"{each.category.__name__}: {each.message}" for each in caught]
    return np.array([each for each in found if "Normalization" in each], "U")


def refusal(strategy, **settings):
    """The message of the error of settings that do not work on replicas."""
    try:
        build_minc(strategy, **settings)
    except ValueError as error:
        return np.array(str(error))
    return np.array("")


def masks(model):
    """Dropout of ones on each replica, (replicas, 64)."""
    strategy = model.distribute_strategy
    dropout = model.encoder.get_layer("dropout")
    kept = strategy.run(lambda: dropout(tf.ones((1, 64)), training=True))
    return np.concatenate(strategy.experimental_local_results(kept))


def train_with_dropout(strategy):
    """Masks, and what two models became of which one was loaded."""
    eager = {"run_eagerly": True}
    late = build_minc(strategy, compile=eager, images=False, dropout=0.5)
    fit(late, 1)
    model, loaded = (
        build_minc(strategy, compile=eager, dropout=0.5) for _ in range(2)
    )
    results = {"masks": {"late": masks(late), "early": masks(model)}}
    fit(model, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.weights.h5"
        model.save_weights(path)
        loaded.load_weights(path)
    for name, each in (("kept", model), ("loaded", loaded)):
        fit(each, 1)
        # Weights and random states; Keras's metrics differ as they should.
        variables = [*each.weights, *each._random_states()]
        results[name] = state(each, variables)
    return results


def views(strategy):
    """Views that are drawn of one image in all places, in two steps.

    (replica, view, image, height, width, channel) each.
    """
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    images = np.tile(image, (8, 1, 1, 1)).astype("uint8")
    with strategy.scope():
        layer = TwoViews(presets.simclr(16, blur=False), 16, seed=0)
    local = len(images) // strategy.num_replicas_in_sync
    parts = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(images[:local])
    )
    copies_of = strategy.experimental_local_results
    found = {}
    for step in range(2):
        both = map(copies_of, strategy.run(layer, args=(parts,)))
        found[str(step)] = np.stack([*both]).swapaxes(0, 1)
    return found


def results_of(count):
    """Everything that `count` replicas find out, nested."""
    strategy = tf.distribute.get_strategy()
    if count > 1:
        devices = [f"CPU:{index}" for index in range(count)]
        strategy = tf.distribute.MirroredStrategy(devices)
    results = {name: train(strategy, name) for name in COMPARED}
    results["views"] = views(strategy)
    for name, parts in PARTS.items():
        results[f"{name}-parts"] = train_in_parts(
            strategy, name, parts if count > 1 else 1
        )
    if count > 1:
        results["norms"] = {
            "synchronized": warnings_of_norms(strategy),
            "local": warnings_of_norms(strategy, synchronized=False),
        }
        results["refusals"] = {
            "jit_compile": refusal(strategy, compile={"jit_compile": True}),
            "steps_per_execution": refusal(
                strategy, compile={"steps_per_execution": 2}
            ),
            "clipping": refusal(strategy, optimizer={"global_clipnorm": 0.5}),
        }
        results["dropout"] = train_with_dropout(strategy)
    return results


def flat(nested, prefix=""):
    """Nested dicts as one, its keys joined by slashes."""
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def main(count, destination):
    """Writes what `count` replicas give."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * int(count)
    )
    np.savez(destination, **dict(flat(results_of(int(count)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
