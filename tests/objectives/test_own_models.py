"""An objective in a model or loop of one's own: it trains, or it says so."""

import warnings

import keras
import numpy as np
import pytest
from gradients import differentiated
from keras import ops

from minc_tf.objectives import MINC, Endpoint, SpectralContrastive
from objectives.harness import assert_close, embeddings

FEATURES, DIM, BATCH = 5, 3, 16
NAMES = ("chi2_information", "effective_rank", "rate", "second_moment_trace")


@pytest.fixture(autouse=True)
def seeded():
    """The weights do not depend on which tests ran before."""
    keras.utils.set_random_seed(0)


class Own(keras.Model):
    """A tower of two views, and what a user writes in `call`."""

    def __init__(self, write, objective=None):
        super().__init__()
        self.tower = keras.layers.Dense(DIM, use_bias=False)
        self.objective = objective or MINC(DIM, rate=0.5, mu=None)
        self.write = write

    def call(self, inputs, training=None):
        z1, z2 = map(self.tower, inputs)
        return self.write(self, z1, z2, training)


def through_add_loss(model, z1, z2, training):
    model.add_loss(model.objective(z1, z2, training=training))
    return z1


def through_endpoint(model, z1, z2, training):
    return model.objective(z1, z2, training=training)


class Forgetful(Own):
    """Whose `call` does not take `training`, so that `fit` gives none."""

    def call(self, inputs):
        return super().call(inputs)


def through_attach(model, z1, z2, training):
    return model.objective.attach(z1, z2)


def functional(objective, **kwargs):
    inputs = [keras.Input((FEATURES,)), keras.Input((FEATURES,))]
    tower = keras.layers.Dense(DIM, use_bias=False)
    outputs = objective.attach(*map(tower, inputs), **kwargs)
    model = keras.Model(inputs, outputs)
    model.tower = tower
    return model


def views(batches=1, seed=0):
    return list(embeddings(BATCH * batches, FEATURES, seed))


def fit(model, batches=2, rate=0.1, **kwargs):
    """Two epochs in a fixed order, from weights that are always the same."""
    kernel = np.random.default_rng(1).normal(size=(FEATURES, DIM))
    if not model.tower.built:
        model.tower.build((None, FEATURES))
    model.tower.set_weights([kernel.astype("float32")])
    model.compile(keras.optimizers.SGD(rate))
    x = views(batches)
    history = model.fit(
        x, batch_size=BATCH, shuffle=False, epochs=2, verbose=0, **kwargs
    )
    return history.history


def differentiate(objective, z1, z2, **kwargs):
    """A step of a loop: the gradient of a call with these arguments."""
    if not objective.built:
        objective.build(z1.shape, z2.shape)
        objective.built = True
    differentiated(lambda *z: objective(*z, **kwargs), objective)(z1, z2)


@pytest.mark.parametrize("kind", ["add_loss", "endpoint"])
def test_a_subclass_trains_as_the_functional_model_does(kind):
    objective = MINC(DIM, rate=0.5, mu=None)
    expected = functional(objective)
    logs = fit(expected)
    if kind == "endpoint":
        own = MINC(DIM, rate=0.5, mu=None)
        model = Own(through_endpoint, Endpoint(own))
    else:
        model = Own(through_add_loss)
        own = model.objective
    found = fit(model)
    assert_close(found["loss"], logs["loss"])
    assert_close(own.second_moment.numpy(), objective.second_moment.numpy())
    assert_close(model.tower.get_weights()[0], expected.tower.get_weights()[0])
    if kind == "endpoint":
        for name in NAMES:
            assert_close(found[name], logs[name])


def test_attach_in_the_call_of_a_model_says_what_to_write():
    model = Own(through_attach)
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"attach: .*self\.add_loss\(self"):
        model.fit(views(), verbose=0)
    z1, z2 = map(ops.convert_to_tensor, embeddings(4, DIM))
    with pytest.raises(ValueError, match=r"symbolic.*Endpoint"):
        MINC(DIM, mu=None).attach(z1, z2)


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_the_logs_are_means_of_the_steps(rate):
    """At rate 0 against the formulas; in motion against single steps."""
    objective = MINC(DIM, rate=0.5, mu=None)
    model = functional(objective)
    logs = fit(model, rate=rate, validation_data=(views(1, seed=1),))
    assert set(logs) == {"loss", "val_loss"} | {
        prefix + name for prefix in ("", "val_") for name in NAMES
    }
    for prefix in ("", "val_"):
        assert_close(
            logs[prefix + "chi2_information"],
            [-loss - 1.0 for loss in logs[prefix + "loss"]],
        )
    if rate:
        return
    (x1, x2), kernel = views(2), model.tower.get_weights()[0]
    traces, moment = [], None
    for _ in range(2):
        for part in (slice(BATCH), slice(BATCH, None)):
            z = np.concatenate([x1[part] @ kernel, x2[part] @ kernel])
            batch = z.T @ z / len(z)
            # Lambda, its trend and their gains: level and trend at rate .5.
            if moment is None:
                moment, trend = batch, 0.0
            else:
                surprise = batch - moment - trend
                moment = moment + trend + 0.75 * surprise
                trend = trend + 0.25 * surprise
            traces.append(np.trace(moment))
    expected = [np.mean(traces[:2]), np.mean(traces[2:])]
    assert_close(logs["second_moment_trace"], expected)


def test_a_weight_changes_the_loss_and_not_the_information():
    logs = fit(
        functional(MINC(DIM, mu=None), weight=0.5, prefix="views_"), rate=0.0
    )
    assert_close(
        logs["views_chi2_information"], [-2.0 * x - 1.0 for x in logs["loss"]]
    )


def test_an_objective_without_scalars_adds_none_to_the_logs():
    assert set(fit(functional(SpectralContrastive()))) <= {
        "loss",
        "chi2_information",
    }


def test_a_model_saved_before_there_were_logs_loads(tmp_path):
    model = functional(MINC(DIM, mu=None))
    fit(model)
    endpoint = model.layers[-1]
    saved = type(endpoint).save_own_variables
    type(endpoint).save_own_variables = lambda self, store: None
    try:
        model.save(tmp_path / "model.keras")
    finally:
        type(endpoint).save_own_variables = saved
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_close(
        again.layers[-1].objective.second_moment.numpy(),
        endpoint.objective.second_moment.numpy(),
    )


def test_an_endpoint_of_something_else():
    with pytest.raises(TypeError, match=r"objective must .*str"):
        Endpoint("minc")


def test_a_model_that_forgets_training_warns_once():
    model = Forgetful(through_add_loss)
    with pytest.warns(UserWarning, match="never called with training=True"):
        fit(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        z1, z2 = map(ops.convert_to_tensor, embeddings(BATCH, DIM))
        differentiate(model.objective, z1, z2)


def test_a_loop_that_forgets_training_warns():
    objective = MINC(DIM, mu=None)
    z1, z2 = embeddings(BATCH, DIM)
    with pytest.warns(UserWarning, match=r"objective\(z1, z2, training=True\)"):
        differentiate(objective, z1, z2)


@pytest.mark.parametrize(
    "objective, training",
    [
        (MINC(DIM, mu=None), True),
        (MINC(DIM, mu=None), False),
        (SpectralContrastive(), None),
    ],
)
def test_no_warning_where_training_was_said_or_nothing_is_kept(
    objective, training
):
    z1, z2 = embeddings(BATCH, DIM)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        differentiate(objective, z1, z2, training=training)


def test_no_warning_without_a_gradient_or_once_it_was_trained(tmp_path):
    """Evaluation and diagnostics, of a model that was loaded too."""
    z1, z2 = embeddings(BATCH, DIM)
    objective, trained = MINC(DIM, mu=None), MINC(DIM, mu=None)
    trained(z1, z2, training=True)
    model = functional(MINC(DIM, mu=None))
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    untrained = functional(MINC(DIM, mu=None))
    untrained.compile("sgd")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        value = float(objective(z1, z2))
        differentiate(trained, z1, z2)
        differentiate(loaded.layers[-1].objective, z1, z2)
        untrained.evaluate(views(), verbose=0)
        untrained.predict(views(), verbose=0)
        untrained(views())
    # The batch's own moment is what an evaluation sees before training.
    moment = (z1.T @ z1 + z2.T @ z2) / (2 * BATCH)
    expected = -2 * np.mean(np.sum(z1 * z2, -1)) + np.sum(moment**2)
    assert_close(value, expected)


@pytest.mark.parametrize("argument", ["loss", "metrics"])
def test_minc_in_compile(argument):
    model = keras.Sequential(
        [keras.Input((FEATURES,)), keras.layers.Dense(DIM)]
    )
    given = {"loss": "mse", argument: MINC(DIM, mu=None)}
    if argument == "metrics":
        given["metrics"] = [given["metrics"]]
    x, y = embeddings(BATCH, FEATURES)[0], embeddings(BATCH, DIM)[0]
    model.compile("sgd", **given)
    with pytest.raises(ValueError, match=r"compile.*attach\(z1, z2\)"):
        model.fit(x, y, verbose=0)


def test_a_loss_without_statistics_in_compile_is_that_loss():
    model = keras.Sequential(
        [keras.Input((FEATURES,)), keras.layers.Dense(DIM)]
    )
    x, y = embeddings(BATCH, FEATURES)[0], embeddings(BATCH, DIM)[0]
    model.compile("sgd", loss=SpectralContrastive())
    expected = float(SpectralContrastive()(y, model(x)))
    # A difference, whose terms are some hundred times larger.
    assert_close(model.evaluate(x, y, verbose=0), expected, floor=0.1)
