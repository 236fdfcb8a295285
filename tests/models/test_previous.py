"""MINC's moment under the weights of the step before, from another model."""

import json
import zipfile

import keras
import numpy as np
import pytest
from gradients import needs_tensorflow

import minc_tf
from minc_tf.objectives import MINC
from models import tiny

RATE = 0.25
STEPS = 3


def build(micro_batches=1, **kwargs):
    """A model that corrects at a fixed rate; the same call, equal weights."""
    keras.utils.set_random_seed(1)
    model = minc_tf.TwoViewModel(
        tiny.encoder(**kwargs),
        tiny.linear(tiny.FEATURES, "projector"),
        MINC(
            tiny.DIM, tracking="corrected", rate=RATE, self_pairs=True, mu=None
        ),
        micro_batches=micro_batches,
    )
    model.compile(keras.optimizers.SGD(tiny.RATE), **tiny.EAGER)
    return model


def network(model):
    """Values of weights, moving statistics and random generators."""
    parts = (model.encoder, model.projector)
    return [v.numpy() for part in parts for v in part.variables]


def restore(model, values):
    parts = (model.encoder, model.projector)
    variables = [v for part in parts for v in part.variables]
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def moment_of(twin, values, views, parts=1):
    """C of a training batch with the weights and the masks of `values`."""
    restore(twin, values)
    pairs = [(0, 1), *((i, j) for j in range(2, len(views)) for i in (0, 1))]
    found = []
    for part in zip(*(np.split(v, parts) for v in views), strict=True):
        large = twin(np.concatenate(part[:2]), training=True)
        z = np.split(np.array(large, "float64"), 2)
        if len(part) > 2:
            small = twin(np.concatenate(part[2:]), training=True)
            z += np.split(np.array(small, "float64"), len(part) - 2)
        found += [z[i].T @ z[i] + z[j].T @ z[j] for i, j in pairs]
    return sum(found) / (2 * len(views[0]) * len(pairs))


def batch_of(seed, small):
    views = tiny.views(seed=seed)
    crops = tiny.views(seed=seed + 50)[:small]
    return (*views, *(view[:, :2, :2] for view in crops))


@pytest.mark.parametrize(
    "kwargs, small",
    [
        ({}, 0),
        ({"norm": "batch", "dropout": 0.5}, 0),
        ({"dropout": 0.5, "micro_batches": 2}, 0),
        ({"norm": "batch", "pooled": True}, 2),
    ],
    ids=["plain", "batch statistics and masks", "in parts", "small views"],
)
def test_correction_is_of_the_weights_of_the_step_before(kwargs, small):
    """Masks are those of this step: only the weights differ."""
    model, twin = build(**kwargs), build(**kwargs)
    parts = kwargs.get("micro_batches", 1)
    expected = previous = None
    for seed in range(STEPS):
        views, now = batch_of(seed, small), network(model)
        moment = moment_of(twin, now, views, parts)
        if expected is None:
            expected, previous = moment, now
        # Random states, integers, go on; what was learnt is of before.
        before = [
            old if old.dtype.kind == "f" else new
            for old, new in zip(previous, now, strict=True)
        ]
        change = moment - moment_of(twin, before, views, parts)
        if seed:
            assert np.abs(change).max() > 0.03 * np.abs(moment).max()
        expected = change + (1 - RATE) * expected + RATE * (moment - change)
        model.fit(tiny.batch_of(views), verbose=0)
        found = model.objective.second_moment.numpy()
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=1e-5 * np.abs(expected).max()
        )
        previous = now


def test_a_layer_that_is_frozen_and_unfrozen():
    """What moved while it was not trained by this model is corrected, too."""
    model, twin = build(), build()
    views = [tiny.views(seed=seed) for seed in range(4)]
    expected = previous = None
    for seed, batch in enumerate(views):
        model.encoder.trainable = seed not in (1, 2)
        model.compile(keras.optimizers.SGD(tiny.RATE), **tiny.EAGER)
        if seed == 2:
            kernel = model.encoder.get_layer("dense").kernel
            kernel.assign(1.1 * kernel.numpy())
        now = network(model)
        moment = moment_of(twin, now, batch)
        if expected is None:
            expected, previous = moment, now
        change = moment - moment_of(twin, previous, batch)
        expected = change + (1 - RATE) * expected + RATE * (moment - change)
        tiny.fit(model, seed=seed)
        np.testing.assert_allclose(
            model.objective.second_moment, expected, rtol=1e-4, atol=1e-5
        )
        previous = now


def test_the_extra_pass_moves_no_statistics_and_no_generator():
    """Weights aside: at rate zero they are those of a step without it."""
    models = []
    for tracking in ("corrected", "mean"):
        keras.utils.set_random_seed(1)
        models.append(
            minc_tf.TwoViewModel(
                tiny.encoder(norm="batch", dropout=0.3),
                tiny.linear(tiny.FEATURES, "projector"),
                MINC(tiny.DIM, tracking=tracking, mu=None),
            )
        )
        models[-1].compile(keras.optimizers.SGD(0.0), **tiny.EAGER)
        tiny.fit(models[-1], STEPS)
    tiny.assert_equal(*map(network, models))


def test_a_batch_that_is_not_finite_leaves_all_as_it_is():
    """Lambda, and the weights that it is of; loss scaling skips the step."""
    models = []
    for _ in range(2):
        models.append(tiny.build())
        models[-1].objective.rate = RATE
        inner = keras.optimizers.SGD(tiny.RATE)
        optimizer = keras.optimizers.LossScaleOptimizer(inner)
        models[-1].compile(optimizer, **tiny.EAGER)
    spoilt, spared = models
    broken = tiny.views(seed=7)
    broken[0][0, 0, 0, 0] = np.nan
    for seed in range(STEPS):
        for model in models:
            tiny.fit(model, seed=seed)
        spoilt.train_on_batch(*broken)  # `fit` would end here
    assert int(spoilt.steps) == 2 * int(spared.steps)
    for one, other in zip(spoilt.weights, spared.weights, strict=True):
        if one.path.split("/")[-1] not in ("steps", "last_loss", "last_rate"):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_an_encoder_that_the_first_batch_builds():
    """What is kept starts as what was drawn, not as zeros."""
    keras.utils.set_random_seed(1)
    norm = keras.layers.Lambda(
        lambda z: z / keras.ops.norm(z, axis=1, keepdims=True)
    )
    layers = keras.layers
    model = minc_tf.TwoViewModel(
        keras.Sequential([layers.Flatten(), layers.Dense(tiny.DIM), norm]),
        layers.Dense(tiny.DIM, use_bias=False),
        MINC(tiny.DIM, mu=None),
    )
    model.compile(keras.optimizers.SGD(0.0), **tiny.EAGER)
    logs = tiny.fit(model)
    assert np.isfinite(logs["loss"]) and logs["rate"] == 1.0
    z = [np.array(model(view)) for view in tiny.views()]
    moment = (z[0].T @ z[0] + z[1].T @ z[1]) / (2 * tiny.BATCH)
    np.testing.assert_allclose(
        model.objective.second_moment, moment, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("kwargs", [{"predictor": True}, {"target": 0.9}])
def test_corrected_is_refused_where_targets_are_another_networks(kwargs):
    predictor = tiny.linear(tiny.DIM, "predictor")
    with pytest.raises(ValueError, match=r"predictor or target.*'lead'"):
        minc_tf.TwoViewModel(
            tiny.encoder(),
            tiny.linear(tiny.FEATURES, "projector"),
            MINC(tiny.DIM, tracking="corrected", mu=None),
            predictor=predictor if "predictor" in kwargs else None,
            target_momentum=kwargs.get("target"),
        )


@pytest.mark.parametrize("kwargs", [{"predictor": True}, {"target": 0.9}])
def test_default_keeps_nothing_where_it_leads(kwargs):
    model = tiny.build(
        predictor="predictor" in kwargs, target_momentum=kwargs.get("target")
    )
    tiny.fit(model, 2)
    assert not any("previous" in v.path for v in model.variables)
    kept = [v for v in tiny.build().variables if "previous" in v.path]
    network = [*model.encoder.weights, *model.projector.weights]
    assert [v.shape for v in kept] == [v.shape for v in network]


@needs_tensorflow("its file is the same on both backends")
def test_a_model_saved_before_there_were_trackings(tmp_path):
    """Its configuration names none: a running mean, with self-pairs."""
    keras.utils.set_random_seed(1)
    model = minc_tf.MINCModel(
        tiny.encoder(),
        tiny.linear(tiny.FEATURES, "projector"),
        MINC(tiny.DIM, tracking="mean", self_pairs=True, mu=None),
    )
    model.compile(keras.optimizers.SGD(tiny.RATE), **tiny.EAGER)
    tiny.fit(model, 2)
    model.save(tmp_path / "now.keras")
    with (
        zipfile.ZipFile(tmp_path / "now.keras") as source,
        zipfile.ZipFile(tmp_path / "old.keras", "w") as old,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                objective = config["config"]["objective"]["config"]
                del objective["tracking"], objective["self_pairs"]
                content = json.dumps(config)
            old.writestr(name, content)
    again = keras.models.load_model(tmp_path / "old.keras")
    assert (again.objective.tracking, again.embeds_previous) == ("mean", False)
    for each in (model, again):
        tiny.fit(each, 2, seed=3)
    tiny.assert_equal(again.get_weights(), model.get_weights())
