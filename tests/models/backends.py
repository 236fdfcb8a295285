"""A program: methods trained on JAX, models that moved there, and views.

The functions are those of any backend. A process has one only, so that this
is run beside the process of the tests.

    KERAS_BACKEND=jax python -m models.backends folder
"""

import pathlib
import sys

import keras
import numpy as np
from gradients import BACKEND
from keras import layers

import minc_tf
from minc_tf.augment import ViewConfig, device_views
from models import tiny, usual

SHAPE, DIM = (8, 8, 3), 4
STEPS, MORE_STEPS = 50, 5
#: Learning rates of the many steps. Larger ones amplify rounding by more than
#: 1000.
RATES = {"lars": 0.01, "adamw": 0.02, "sgd": 1e-3}
#: What a step has: Lambda and AdamW; a target, a predictor and LARS; momentum,
#: and a predictor with a rate of its own. The objectives are compared with the
#: same references on both backends, in tests/objectives.
COMPARED = ("minc", "byol", "simsiam")
#: Methods whose models move, and the backends that they come from.
MOVED = {"minc": "tensorflow", "byol": "jax"}


def encoder():
    """Convolution - BN - convolution - tanh, (B, 32)."""
    # No ReLU here: an activation that rounds to the other side of zero would
    # change the gradient by more than the differences that are looked for.
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Rescaling(1 / 127.5, -1.0),
            layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(
                momentum=0.9, synchronized=BACKEND == "tensorflow"
            ),
            layers.Conv2D(8, 3, activation="tanh"),
            layers.Flatten(),
        ],
        name="encoder",
    )


def build(method):
    """A compiled model of a method, of the same weights on every backend."""
    keras.utils.clear_session()
    model = minc_tf.build(
        method, encoder(), steps=STEPS, **usual.widths(method, 32, DIM)
    )
    rng = np.random.default_rng(0)
    for part in model.online_layers:
        for variable in part.trainable_variables:
            if len(variable.shape) > 1:
                fan_in = np.prod(variable.shape[:-1])
                value = rng.normal(size=variable.shape) / np.sqrt(fan_in)
                variable.assign(value.astype("float32"))
    if model.target_encoder is not None:
        model.target_encoder.set_weights(model.encoder.get_weights())
        model.target_projector.set_weights(model.projector.get_weights())
    if model._previous is not None:
        model._previous.follow()
    model.compile(usual.optimizer(method, model, rate=1.0))
    model.optimizer.build(model.trainable_variables)
    return model


def fit(model, views):
    """The state after training on views in their order: logs and weights.

    The weights are those of the network, its moving statistics, Lambda and
    the target.
    """
    history = model.fit(
        *views, batch_size=tiny.BATCH, shuffle=False, verbose=0
    ).history
    logs = {f"log {name}": values[-1] for name, values in history.items()}
    return {**logs, **weights(model)}


def weights(model):
    """All weights of a model."""
    return {
        f"{index:02} {variable.path}": variable.numpy()
        for index, variable in enumerate(model.weights)
    }


def restart(model, start, rate):
    """As it was before the first step, but for the learning rate."""
    model.set_weights(start)
    for variable in model.optimizer.variables:
        variable.assign(np.zeros(variable.shape))
    for part in getattr(model.optimizer, "optimizers", [model.optimizer]):
        part.learning_rate = rate


def train(method, folder):
    """What a method becomes in a step at rate one, and in many.

    In each from the same start; the first step is by how much it changed.
    """
    model = build(method)
    start, values = weights(model), model.get_weights()
    views = tiny.views(STEPS, shape=SHAPE)
    step = fit(model, [view[: tiny.BATCH] for view in views])
    change = {key: step[key] - value for key, value in start.items()}
    restart(model, values, RATES[usual.kind(method)])
    results = {"start": start, "step": {**step, **change}}
    results["fit"] = fit(model, views)
    if MOVED.get(method) == BACKEND:
        model.save(file_of(folder, method))
    return results


def go_on(folder, method):
    """What a model becomes that was trained and saved on one of the two."""
    model = keras.models.load_model(file_of(folder, method))
    views = tiny.views(MORE_STEPS, seed=1, shape=SHAPE)
    predicted = model.predict(views[0], verbose=0)
    return {"predicted": predicted, **fit(model, views)}


def file_of(folder, method):
    """Where a model is saved."""
    return pathlib.Path(folder) / f"{method}.keras"


def views():
    """Views of the same images, of the same random numbers, by semantics."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 23, 31, 3)).astype(np.uint8)
    numbers = rng.uniform(size=(20, 2, device_views.DRAWS))
    numbers = keras.ops.convert_to_tensor(numbers, "float32")
    images = keras.ops.convert_to_tensor(images)
    found = {}
    for semantics in ("torchvision", "tf", "tf_byol"):
        config = ViewConfig(semantics=semantics, blur_kernel=5, solarize_p=0.5)

        def make(images, numbers, configs=(config, config)):
            chosen = device_views.draw_parameters(numbers, configs, 23, 31)
            return chosen, device_views.make_views(
                images, chosen, configs, (16, 16)
            )

        if BACKEND == "jax":  # which compiles each operation otherwise
            import jax

            make = jax.jit(make)
        chosen, made = make(images, numbers)
        parameters = {
            name: np.asarray(values)
            for name, values in chosen._asdict().items()
        }
        found[semantics] = {"parameters": parameters, "views": np.stack(made)}
    return found


def flat(nested, prefix=""):
    """Nested dicts as one, its keys joined by slashes."""
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def main(folder):
    """Writes what this backend makes of methods, and of saved models."""
    results = {method: train(method, folder) for method in COMPARED}
    for method, backend in MOVED.items():
        results[f"{method} of {backend}"] = go_on(folder, method)
    results["views"] = views()
    path = pathlib.Path(folder) / f"{BACKEND}.npz"
    np.savez(path, **dict(flat(results)))


if __name__ == "__main__":
    main(sys.argv[1])
