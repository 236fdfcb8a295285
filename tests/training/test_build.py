"""From settings to views, models and optimizers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import minc_tf
from minc_tf.training import from_settings, tensorflow_images

from .conftest import tiny_config


@pytest.fixture
def model():
    return from_settings.build_model(tiny_config())


def test_view_fields_override_every_view():
    config = tiny_config()
    config.views = {
        "preset": "byol",
        "size": 24,
        "area": (0.3, 1.0),
        "hue": 0.0,
        "solarize_p": 0.5,
    }
    views = tensorflow_images.build_views(config)
    assert views.size == (24, 24)
    first, second = views.configs
    for view in (first, second):
        assert view.area == (0.3, 1.0)
        assert view.hue == 0.0
        assert view.solarize_p == 0.5
    # What is not overridden stays the preset's.
    assert (first.blur_p, second.blur_p) == (1.0, 0.1)


def test_view_field_out_of_range():
    config = tiny_config(views={"hue": 0.9})
    with pytest.raises(ValueError, match=r"hue.*0\.9"):
        tensorflow_images.build_views(config)


@pytest.mark.parametrize(
    ("section", "cls"),
    [
        ({"name": "adamw", "weight_decay": 0.05}, keras.optimizers.AdamW),
        ({"name": "sgd", "momentum": 0.9}, keras.optimizers.SGD),
        (
            {"name": "lars", "momentum_of": "gradient"},
            minc_tf.optimizers.LARS,
        ),
    ],
)
def test_optimizer_takes_its_arguments(model, section, cls):
    config = tiny_config(batch_size=64)
    config.optimizer = {
        "learning_rate": 0.4,
        "scale_with_batch": True,
        "warmup_epochs": 1,
        **section,
    }
    optimizer = from_settings.build_optimizer(config, 10, model)
    assert type(optimizer) is cls
    for key, value in section.items():
        if key not in ("name", "weight_decay"):
            assert getattr(optimizer, key) == value
    # 0.4 * 64 / 256 after an epoch of warm-up, nothing at the end.
    rate = optimizer.get_config()["learning_rate"]
    schedule = keras.optimizers.schedules.deserialize(rate)
    assert [float(schedule(step)) for step in (5, 10, 30)] == pytest.approx(
        [0.05, 0.1, 0.0]
    )


def test_biases_and_norms_do_not_decay(model):
    config = tiny_config(optimizer={"weight_decay": 0.5})
    optimizer = from_settings.build_optimizer(config, 10, model)
    optimizer.build(model.trainable_variables)
    decayed = [
        v
        for v in model.trainable_variables
        if optimizer._use_weight_decay(v)  # Keras offers no other way to ask.
    ]
    assert decayed
    assert {v.ndim > 1 for v in decayed} == {True}
    kept = len(model.trainable_variables) - len(decayed)
    assert kept == sum(v.ndim <= 1 for v in model.trainable_variables)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        # 1 - (1 - start) (cos(pi step / 12) + 1) / 2: 3 epochs of 4 steps.
        (
            {"momentum": 0.9},
            [0.9, 0.914645, 0.95, 0.985355, 1.0, 1.0],
        ),
        ({"momentum": 0.9, "schedule": "constant"}, 0.9),
        ({"momentum": None}, None),
        ({"momentum": None, "schedule": "constant"}, None),
    ],
)
def test_target_momentum(target, expected):
    momentum = from_settings.target_momentum(tiny_config(target=target), 4)
    if isinstance(expected, list):
        momentum = [float(momentum(k)) for k in (0, 3, 6, 9, 12, 99)]
        expected = pytest.approx(expected, abs=1e-6)
    assert momentum == expected


def test_target_exists_where_it_has_a_momentum():
    model = from_settings.build_model(tiny_config())
    assert model.target_encoder is None
    model = from_settings.build_model(tiny_config(target={"momentum": 0.9}))
    for part in ("encoder", "projector"):
        online, copy = getattr(model, part), getattr(model, f"target_{part}")
        assert copy is not online
        for a, b in zip(copy.weights, online.weights, strict=True):
            np.testing.assert_array_equal(a, b)


def simsiam_config(**optimizer):
    """SimSiam on the tiny encoder, with 4 steps of warm-up."""
    config = tiny_config()
    config.objective = {"name": "negative_cosine"}
    config.predictor = {"widths": (6, 8)}
    config.optimizer = {
        "learning_rate": 0.5,
        "scale_with_batch": False,
        "warmup_epochs": 1,
        "predictor_rate": "constant",
        **optimizer,
    }
    return config


def simsiam_gradients(model, view1, view2):
    """The gradient of SimSiam's loss, written out."""
    with tf.GradientTape() as tape:
        images = tf.concat([view1, view2], axis=0)
        features = model.encoder(images, training=True)
        z = model.projector(features, training=True)
        q = model.predictor(z, training=True)
        z1, z2 = tf.split(tf.stop_gradient(z), 2)
        others = tf.concat([z2, z1], axis=0)
        cosines = keras.losses.cosine_similarity(q, others)
        loss = tf.reduce_mean(cosines)
    return [np.array(g) for g in tape.gradient(loss, model.trainable_variables)]


def test_predictor_keeps_the_peak_rate_while_the_rest_follows_the_schedule():
    config = simsiam_config(name="sgd", momentum=0.0)
    model = from_settings.build_model(config)
    optimizer = from_settings.build_optimizer(config, 4, model)
    assert type(optimizer) is keras.optimizers.MultiOptimizer
    model.compile(optimizer)
    own = {id(v) for v in model.predictor.trainable_variables}
    rng = np.random.default_rng(0)
    # Warm-up: k / 4 of the peak at step k.
    for rest in (0.0, 0.125, 0.25):
        views = rng.uniform(0, 255, (2, 16, 32, 32, 3)).astype("float32")
        before = [v.numpy() for v in model.trainable_variables]
        gradients = simsiam_gradients(model, *views)
        model.fit(*views, batch_size=16, verbose=0)
        for variable, old, gradient in zip(
            model.trainable_variables, before, gradients, strict=True
        ):
            rate = 0.5 if id(variable) in own else rest
            moved = variable.numpy() - old
            np.testing.assert_allclose(
                moved,
                -rate * gradient,
                atol=1e-5 * np.abs(old).max(initial=1.0),
                err_msg=variable.path,
            )
            if id(variable) in own and variable.ndim > 1:
                assert np.abs(moved).max() > 1e-3


def test_scheduled_predictor_has_no_optimizer_of_its_own():
    config = simsiam_config(name="sgd", predictor_rate="scheduled")
    optimizer = from_settings.build_optimizer(
        config, 4, from_settings.build_model(config)
    )
    assert type(optimizer) is keras.optimizers.SGD


def test_constant_rate_of_the_predictor_scales_with_the_batch():
    config = simsiam_config(name="lars", scale_with_batch=True)
    optimizer = from_settings.build_optimizer(
        config, 4, from_settings.build_model(config)
    )
    rates = [float(part.learning_rate) for part in optimizer.optimizers]
    # The peak, 0.5 * 16 / 256, and the first step of the warm-up.
    assert rates == pytest.approx([0.5 * 16 / 256, 0.0])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_biases_and_norms_decay_in_neither_optimizer(name):
    config = simsiam_config(name=name, weight_decay=0.5, warmup_epochs=0)
    model = from_settings.build_model(config)
    for variable in model.trainable_variables:
        variable.assign(tf.ones(variable.shape))
    model.compile(from_settings.build_optimizer(config, 4, model))
    # Without a gradient only the decay moves a weight, at the rate of 0.5.
    zeros = [tf.zeros(v.shape) for v in model.trainable_variables]
    model.optimizer.apply_gradients(
        zip(zeros, model.trainable_variables, strict=True)
    )
    for part in (model.encoder, model.projector, model.predictor):
        ranks = {v.ndim for v in part.trainable_variables}
        assert min(ranks) == 1 < max(ranks)
        for variable in part.trainable_variables:
            left = 0.75 if variable.ndim > 1 else 1.0
            np.testing.assert_allclose(variable, left, err_msg=variable.path)


def test_heads_share_no_path():
    """Keras tells the optimizer of a weight by the weight's path."""
    model = from_settings.build_model(simsiam_config(name="sgd"))
    paths = [v.path for v in model.trainable_variables]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("predictor_rate", ["constant", "scheduled"])
def test_accumulated_gradients_are_refused(predictor_rate):
    config = simsiam_config(
        name="adamw",
        predictor_rate=predictor_rate,
        gradient_accumulation_steps=2,
    )
    model = from_settings.build_model(config)
    with pytest.raises(ValueError, match="gradient_accumulation_steps=2"):
        model.compile(from_settings.build_optimizer(config, 4, model))


def test_same_seed_same_weights():
    one, same, other = (
        from_settings.build_model(tiny_config(seed=seed)).encoder.get_weights()[
            0
        ]
        for seed in (1, 1, 2)
    )
    assert (one == same).all()
    assert (one != other).any()


def test_float16_scales_the_loss():
    model = from_settings.build_model(tiny_config(precision="mixed_float16"))
    model.compile(optimizer=keras.optimizers.SGD())
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert keras.config.dtype_policy().name == "float32"


def test_methods_choose_the_class():
    config = tiny_config()
    assert type(from_settings.build_model(config)) is minc_tf.MINCModel
    config.objective = {"name": "spectral"}
    model = from_settings.build_model(config)
    assert type(model) is minc_tf.TwoViewModel
    assert isinstance(model.objective, minc_tf.objectives.SpectralContrastive)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"name": "smal_resnet"}, "did you mean 'small_resnet'"),
        (
            {"name": "keras.applications.MobileNetV2", "alfa": 1},
            r"config\.encoder: .*'alfa'",
        ),
    ],
)
def test_encoder_that_cannot_be_built(encoder, message):
    config = tiny_config()
    config.encoder = encoder
    with pytest.raises(ValueError, match=message):
        from_settings.build_model(config)


def test_batch_larger_than_the_data_set():
    config = tiny_config(data={"num_examples": 8})
    with pytest.raises(ValueError, match=r"batch_size=16 .*: 8 images"):
        tensorflow_images.load_sources(config)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"test_split": None}, "test_split must name a labelled split"),
        (
            {"name": "folder", "test_split": "test"},
            "data_dir must be the path",
        ),
    ],
)
def test_nothing_to_evaluate_on(data, message):
    with pytest.raises(ValueError, match=message):
        tensorflow_images.load_evaluation_sources(tiny_config(data=data))
