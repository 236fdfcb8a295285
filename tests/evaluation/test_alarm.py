"""The collapse alarm: causes in the design, symptoms, and healthy runs."""

import logging

import keras
import numpy as np
import pytest
from keras import layers

import minc_tf
from minc_tf.evaluation import CollapseAlarm, CollapseError
from minc_tf.evaluation.monitors import collapse_alarm as alarm
from minc_tf.evaluation.monitors import collapse_causes as causes
from minc_tf.models import METHODS
from minc_tf.objectives import (
    MINC,
    NegativeCosine,
    SpectralContrastive,
    VICReg,
)

SHAPE, DIM, BATCH = (8, 8, 3), 16, 32
LOGGER = "minc_tf.evaluation.monitors.collapse_alarm"


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (256, *SHAPE))


@pytest.fixture(scope="module")
def views(images):
    rng = np.random.default_rng(1)
    return [
        np.clip(images + 20 * rng.normal(size=images.shape), 0, 255)
        for _ in range(2)
    ]


class WithoutStopGradient(minc_tf.TwoViewModel):
    """A model whose targets carry a gradient too."""

    def embed_target(self, images, embeddings, training):
        return embeddings


class EmbedsAgain(minc_tf.TwoViewModel):
    """The same, by another way to the targets."""

    def embed_target(self, images, embeddings, training):
        return self(images, training=training)


def build(objective, cls=minc_tf.TwoViewModel, predictor="mlp", **kwargs):
    """A model without normalisation at its end, which could collapse."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = layers.Dense(32)(layers.Flatten()(x))
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    heads = {
        "mlp": lambda: minc_tf.models.mlp(DIM, (8, DIM), name="predictor"),
        "empty": lambda: layers.Activation("tanh"),
        None: lambda: None,
    }
    return cls(
        keras.Model(inputs, x),
        minc_tf.models.mlp(32, (32, DIM), norm=None),
        objective,
        predictor=heads[predictor](),
        **kwargs,
    )


def watch(model, images, views, optimizer=None, epochs=1, **settings):
    """Trains, 8 steps an epoch; returns the alarm."""
    optimizer = optimizer or keras.optimizers.SGD(0.1, momentum=0.9)
    # Few steps of a small network take less time than to compile one.
    model.compile(optimizer, run_eagerly=epochs == 1)
    found = CollapseAlarm(images[:64], **{"every": 2, **settings})
    model.fit(
        *views, batch_size=BATCH, epochs=epochs, callbacks=[found], verbose=0
    )
    return found


def warnings_of(caplog):
    """The messages of the alarm."""
    records = [r for r in caplog.records if r.name == LOGGER]
    assert all(r.levelno == logging.WARNING for r in records)
    return [r.getMessage() for r in records]


@pytest.mark.parametrize("name", METHODS)
def test_which_objectives_repel(name):
    """By what is known of the methods, at two widths."""
    row = METHODS[name]
    # Of the wide ones, few dimensions make a difference.
    for dim in (8, 8 if "dim" in row.objective_arguments(8) else 2048):
        objective = row.objective(**row.objective_arguments(dim))
        expected = name not in ("byol", "linear_byol", "simsiam")
        assert causes.repels(objective, dim) == expected
        minds = name in ("minc", "minc_target", "spectral") or "vicreg" in name
        assert causes.depends_on_scale(objective, dim) == minds


def test_whether_an_objective_repels_depends_on_its_settings():
    assert not causes.repels(VICReg(variance_weight=0.0), 8)
    # Nor on what a trained one has seen.
    objective = MINC(8, mu=None)
    z = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
    objective(z, z, training=True)
    held = objective.second_moment.numpy()
    assert causes.repels(objective, 8)
    np.testing.assert_array_equal(objective.second_moment.numpy(), held)


def frozen(model):
    """Trains all but the predictor."""
    model.predictor.trainable = False
    return keras.optimizers.SGD(0.1)


def decayed(model):
    """The predictor has an optimizer of its own, which only decays it."""
    own = {
        v.path: keras.optimizers.SGD(1e-9, weight_decay=5e6)
        for v in model.predictor.trainable_variables
    }
    optimizers = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), own)
    return keras.optimizers.MultiOptimizer(optimizers)


def without_rate(model):
    """The predictor has an optimizer of its own, which does nothing."""
    own = {
        v.path: keras.optimizers.SGD(0.0)
        for v in model.predictor.trainable_variables
    }
    optimizers = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), own)
    return keras.optimizers.MultiOptimizer(optimizers)


@pytest.mark.parametrize(
    ("settings", "prepare", "cause"),
    [
        ({"cls": WithoutStopGradient}, None, causes.GRADIENT_THROUGH_TARGETS),
        ({"cls": EmbedsAgain}, None, causes.GRADIENT_THROUGH_TARGETS),
        ({"target_momentum": 0.9}, frozen, causes.STILL_PREDICTOR),
        ({"target_momentum": 0.9}, without_rate, causes.STILL_PREDICTOR),
        ({"target_momentum": 0.9}, decayed, causes.STILL_PREDICTOR),
        ({"predictor": "empty"}, None, causes.STILL_PREDICTOR),
        ({"predictor": None}, None, causes.NO_PREDICTOR),
        (
            {"predictor": None, "target_momentum": 0.9},
            None,
            causes.NO_PREDICTOR,
        ),
    ],
    ids=[
        "no stop-gradient",
        "embeds again",
        "frozen",
        "rate zero",
        "only decay",
        "nothing to learn",
        "no predictor",
        "target alone",
    ],
)
def test_causes_in_the_design(images, views, caplog, settings, prepare, cause):
    model = build(NegativeCosine(), **settings)
    optimizer = prepare(model) if prepare else None
    found = watch(model, images, views, optimizer, action="stop")
    assert int(model.steps) == 4
    assert found.cause == cause
    # Two looks behind the one at the start.
    assert found.step == 4
    (message,) = warnings_of(caplog)
    assert message == (
        f"step 4: the model collapses: {cause}; {causes.REMEDIES[cause]}"
    )


@pytest.mark.parametrize(
    "objective, settings",
    [
        (NegativeCosine(), {}),
        (NegativeCosine(form="distance"), {"target_momentum": 0.9}),
        (MINC(DIM, mu=10.0), {"predictor": None}),
        # No predictor is needed here, and a frozen one does no harm.
        (SpectralContrastive(mu=10.0), {"cls": WithoutStopGradient}),
        (VICReg(), {"predictor": "empty"}),
    ],
    ids=["simsiam", "byol", "minc", "spectral", "vicreg"],
)
def test_healthy_runs_are_silent(images, views, caplog, objective, settings):
    model = build(objective, **settings)
    # From zero: at the start of a warm-up nothing moves.
    rate = minc_tf.optimizers.warmup_cosine(0.05, steps=16, warmup_steps=4)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    found = watch(model, images, views, optimizer, epochs=2, patience=2)
    assert (found.cause, found.step) == ("", None)
    assert warnings_of(caplog) == []
    history = found.history
    assert history["step"] == list(range(0, 17, 2))
    assert {len(values) for values in history.values()} == {9}
    assert history["weight_change"][0] == 0.0
    assert history["weight_change"][3] > 0.0
    embeddings = model.predict(images[:64], verbose=0)
    np.testing.assert_allclose(
        history["embedding_norm"][-1],
        np.sqrt(np.mean(np.linalg.norm(embeddings, axis=1) ** 2)),
        rtol=1e-5,
    )


def test_nothing_moves_and_nothing_is_said(images, views, caplog):
    model = build(NegativeCosine(), WithoutStopGradient)
    found = watch(model, images, views, keras.optimizers.SGD(0.0))
    assert found.cause == ""
    assert warnings_of(caplog) == []


def test_a_target_that_stands_is_told_of_but_no_cause(images, views, caplog):
    model = build(NegativeCosine(), target_momentum=1.0)
    found = watch(model, images, views, action="raise")
    assert found.cause == ""
    (message,) = warnings_of(caplog)
    assert message.startswith("step 4: the target network does not move")


def test_an_error_is_raised_where_asked_for(images, views):
    model = build(NegativeCosine(), WithoutStopGradient)
    with pytest.raises(CollapseError, match="step 4: the model collapses: a "):
        watch(model, images, views, action="raise")


class Embedder(keras.Model):
    """Embeddings of a chosen shape; built by its first batch."""

    def __init__(self):
        super().__init__()
        self.scale = layers.Rescaling(1 / 127.5, -1.0)
        self.flatten = layers.Flatten()
        self.dense = layers.Dense(DIM)

    def build(self, input_shape):
        self.dense.build((None, int(np.prod(SHAPE))))
        self.offset = self.add_weight(shape=(), trainable=False)

    def call(self, x, training=False):
        return self.dense(self.flatten(self.scale(x))) + self.offset


class Script(keras.callbacks.Callback):
    """Gives a model the weights of each step, before the alarm looks.

    A shape can have a factor behind it, `"line*3"`; one without grows by a
    little at each step, because weights that stand still tell nothing.
    """

    def __init__(self, shapes):
        super().__init__()
        rng = np.random.default_rng(0)
        size = int(np.prod(SHAPE))
        self.healthy = rng.normal(size=(size, DIM))
        self.line = rng.normal(size=(size, 1)) * rng.normal(size=(1, DIM))
        self.shapes = shapes

    def on_train_batch_end(self, batch, logs=None):
        shape, *factor = self.shapes[batch].split("*")
        factor = float(factor[0]) if factor else 1.0 + batch / 100
        kernel = self.line if shape == "line" else self.healthy
        self.model.dense.set_weights([factor * kernel, np.zeros(DIM)])
        # Far away, everything lies in one direction.
        self.model.offset.assign(1000.0 if shape == "point" else 0.0)


def play(images, shapes):
    """The alarm of a model whose embeddings have these shapes in turn."""
    model = Embedder()
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    found = CollapseAlarm(images[:64], every=1, patience=4)
    model.fit(
        images[: len(shapes)],
        np.zeros((len(shapes), DIM)),
        batch_size=1,
        callbacks=[Script(shapes), found],
        verbose=0,
    )
    return found


STARTS = ["healthy"]


@pytest.mark.parametrize(
    ("shapes", "step", "words"),
    [
        # How far the weights have come to the first look is not known.
        (["point"] * 6, 5, "the embeddings of all images point the same way"),
        (STARTS * 2 + ["line"] * 5, 6, "the embeddings lie on a line"),
        (STARTS + ["line", "point"] * 3, 5, "the embeddings of all images"),
        (["line"] * 3 + STARTS + ["line"] * 3, None, ""),
        (["line*1"] * 6, None, ""),
        ([f"point*{10 * 2**k}" for k in range(6)], None, ""),
        (STARTS + [f"line*{9 + k}" for k in range(4)], 5, alarm.LARGE_STEPS),
        (STARTS + [f"line*.0{k}" for k in range(5, 9)], 5, alarm.LARGE_DECAY),
        ([*STARTS, "healthy*nan"], 2, alarm.NOT_FINITE),
        ([*STARTS, "healthy*9", "healthy*nan"], 3, alarm.LARGE_STEPS),
    ],
    ids=[
        "point",
        "line",
        "both",
        "recovers",
        "stands still",
        "gets better",
        "large steps",
        "large decay",
        "not finite",
        "not finite after large steps",
    ],
)
def test_symptoms_must_last(images, shapes, step, words):
    found = play(images, shapes)
    assert found.step == step
    assert found.cause.startswith(words)
    assert bool(found.cause) == bool(words)


def test_embeddings_that_shrink(images, views):
    """A decay that outweighs the loss; the directions stay apart."""
    model = build(MINC(DIM, mu=None), predictor=None)
    optimizer = keras.optimizers.SGD(1e-4, weight_decay=500.0)
    found = watch(model, images, views, optimizer, epochs=4, patience=4)
    assert found.cause.startswith(alarm.SHRUNK)
    assert found.history["embedding_std"][-1] > 0.2


def test_bad_arguments(images):
    for settings, error, message in (
        ({"every": 0}, ValueError, "every must be an int >= 1; received 0"),
        (
            {"patience": 1.5},
            TypeError,
            "patience must be an int .*received 1.5",
        ),
        ({"action": "end"}, ValueError, "action must be .* received 'end'"),
    ):
        with pytest.raises(error, match=message):
            CollapseAlarm(images, **settings)
    for wrong in (images[:15], images[0]):
        with pytest.raises(
            ValueError, match=r"images must have shape .* of 16"
        ):
            CollapseAlarm(wrong)


def test_images_that_do_not_fit_stop_fit_before_it_starts(images, views):
    model = build(NegativeCosine())
    model.compile("sgd")
    found = CollapseAlarm(images[:, :4])
    with pytest.raises(ValueError, match="shape"):
        model.fit(*views, batch_size=BATCH, callbacks=[found], verbose=0)
    assert int(model.steps) == 0


class Unconfigured(NegativeCosine):
    """An objective that cannot be made anew from its configuration."""

    def __init__(self, pull):
        super().__init__(weight=pull)

    def get_config(self):
        return {"name": self.name}


def test_an_objective_that_cannot_be_copied_is_tried_itself():
    assert not causes.repels(Unconfigured(1.0), 8)


def test_steps_are_counted_where_several_make_a_call(images):
    found = CollapseAlarm(images[:64], every=4)
    model = keras.Sequential([layers.Dense(2)])
    model.compile("sgd", steps_per_execution=3)
    found.set_model(model)
    found.on_train_begin()
    looks = []
    found._look = lambda: looks.append(found._steps)
    for batch in range(6):
        found.on_train_batch_end(batch)
    assert looks == [6, 9, 12, 18]


@pytest.mark.parametrize("collapsed", [False, True])
def test_statistics_that_lag_are_no_collapse(images, views, collapsed):
    model = build(MINC(DIM), predictor=None)
    norm = next(
        layer for layer in model.encoder.layers if hasattr(layer, "momentum")
    )
    norm.momentum = 1.0  # for ever those of the initialisation, and

    class Stale(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            norm.moving_mean.assign(100.0 + norm.moving_mean * 0.0)
            if collapsed:  # while the weights move
                norm.gamma.assign(norm.gamma * 0.0)
                norm.beta.assign(norm.beta + 0.1)

    found = CollapseAlarm(images[:64], every=2, patience=2)
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    model.fit(
        *views,
        batch_size=BATCH,
        epochs=1,
        verbose=0,
        callbacks=[Stale(), found],
    )
    assert bool(found.cause) == collapsed
