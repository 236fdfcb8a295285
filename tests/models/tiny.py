"""Models small enough to follow by hand, and images for them."""

import keras
import numpy as np
from gradients import BACKEND
from keras import layers

from minc_tf import TwoViewModel
from minc_tf.objectives import MINC, NegativeCosine, SpectralContrastive

SHAPE = (4, 4, 3)
FEATURES, DIM, BATCH = 8, 5, 8
RATE = 0.1
#: For `compile`: steps without a graph, which TensorFlow takes a second to
#: trace, and with one. JAX compiles in any case.
EAGER, GRAPH = {"run_eagerly": BACKEND == "tensorflow"}, {}


def objective(name):
    """A fresh objective; the ones that behave differently in a step."""
    return {
        "minc": lambda: MINC(DIM, mu=None),
        "minc_read_first": lambda: MINC(DIM, order="read_first", mu=4.0),
        "spectral": lambda: SpectralContrastive(mu=4.0),
        "cosine": NegativeCosine,
    }[name]()


def views(batches=1, seed=0, shape=SHAPE):
    """Two views (BATCH * batches, H, W, C) of noise images, 0 to 255."""
    rng = np.random.default_rng(seed)
    view1 = rng.uniform(0, 255, size=(BATCH * batches, *shape))
    view2 = np.clip(view1 + 40 * rng.normal(size=view1.shape), 0, 255)
    return view1.astype("float32"), view2.astype("float32")


def encoder(norm=None, dropout=0.0, pooled=False, **dense):
    """Flatten - Dense - norm - tanh - dropout; `norm="frozen"` is BN at rest.

    Without batch statistics a batch is a sum of its images, so that parts of
    a batch can be compared with the whole. With `pooled` the mean pixel takes
    the place of all pixels, and images can have any size.
    """
    inputs = keras.Input((None, None, 3) if pooled else SHAPE)
    x = layers.Rescaling(1 / 127.5, -1.0, dtype="float32")(inputs)
    x = layers.GlobalAveragePooling2D()(x) if pooled else layers.Flatten()(x)
    x = layers.Dense(FEATURES, name="dense", **dense)(x)
    if norm:
        batch_norm = layers.BatchNormalization(momentum=0.9, name="norm")
        batch_norm.trainable = norm != "frozen"
        x = batch_norm(x)
    x = layers.Activation("tanh")(x)
    if dropout:
        x = layers.Dropout(dropout, seed=3)(x)
    return keras.Model(inputs, x, name="encoder")


def linear(size, name):
    """A head of one linear layer without bias."""
    return keras.Sequential(
        [keras.Input((size,)), layers.Dense(DIM, use_bias=False)], name=name
    )


def build(name="minc", optimizer=None, compile=None, predictor=False, **kwargs):
    """A compiled model; the same call gives the same weights.

    Args:
        name: string, the objective; see `objective`.
        optimizer: Keras optimizer; plain gradient descent at the rate
            `RATE` by default.
        compile: dict, further arguments of `compile`; `EAGER` by default.
        predictor: bool, with a predictor.
        **kwargs: arguments of `TwoViewModel` or, where it has none of that
            name, of `encoder`.
    """
    keras.utils.set_random_seed(1)
    own = {"target_momentum", "micro_batches"}
    model = TwoViewModel(
        encoder(**{k: v for k, v in kwargs.items() if k not in own}),
        linear(FEATURES, "projector"),
        objective(name),
        predictor=linear(DIM, "predictor") if predictor else None,
        **{k: v for k, v in kwargs.items() if k in own},
    )
    optimizer = optimizer or keras.optimizers.SGD(RATE)
    model.compile(
        optimizer=optimizer, **(EAGER if compile is None else compile)
    )
    return model


def fit(model, batches=1, seed=0, **kwargs):
    """Trains on `batches` batches in a fixed order; returns the logs."""
    history = model.fit(
        *views(batches, seed),
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        **kwargs,
    )
    return {name: values[-1] for name, values in history.history.items()}


def batch_of(parts):
    """One batch, from a pipeline and not from arrays."""
    if BACKEND == "jax":
        return (batch for batch in [parts])
    import tensorflow as tf

    return tf.data.Dataset.from_tensors(parts)


def pipeline(views, batch_size=BATCH, nested=False):
    """Batches of views in their order, of a size that TensorFlow cannot see.

    Args:
        views: tuple of arrays.
        batch_size: int.
        nested: bool, the views of a batch inside another tuple.
    """
    if BACKEND == "jax":
        starts = range(0, len(views[0]), batch_size)
        parts = (tuple(v[i : i + batch_size] for v in views) for i in starts)
        return ((part,) if nested else part for part in parts)
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices(tuple(views)).batch(batch_size)
    return batches.map(lambda *parts: (parts,)) if nested else batches


def snapshot(model):
    """Values of all variables: weights, statistics, random states."""
    return [variable.numpy() for variable in model.variables]


def jax_state(model):
    """The values that a step takes on JAX."""
    model.optimizer.build(model.trainable_variables)
    return [
        [variable.value for variable in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    ]


def assert_equal(first, second):
    """Bit-equal lists of arrays."""
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def assert_close(first, second, tolerance):
    """Absolute differences of lists of arrays, relative to 1 at least."""
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
