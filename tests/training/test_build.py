"""From settings to views, models and optimizers."""

import keras
import pytest

import minc_tf
from minc_tf.training import build

from .conftest import tiny_config


@pytest.fixture
def model():
    return build.build_model(tiny_config())


def test_view_fields_override_every_view():
    config = tiny_config()
    config.views = {
        "preset": "byol",
        "size": 24,
        "area": (0.3, 1.0),
        "hue": 0.0,
        "solarize_p": 0.5,
    }
    views = build.build_views(config)
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
        build.build_views(config)


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
    optimizer = build.build_optimizer(config, 10, model)
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
    optimizer = build.build_optimizer(config, 10, model)
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


def test_same_seed_same_weights():
    one, same, other = (
        build.build_model(tiny_config(seed=seed)).encoder.get_weights()[0]
        for seed in (1, 1, 2)
    )
    assert (one == same).all()
    assert (one != other).any()


def test_float16_scales_the_loss():
    model = build.build_model(tiny_config(precision="mixed_float16"))
    model.compile(optimizer=keras.optimizers.SGD())
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert keras.config.dtype_policy().name == "float32"


def test_methods_choose_the_class():
    config = tiny_config()
    assert type(build.build_model(config)) is minc_tf.MINCModel
    config.objective = {"name": "spectral"}
    model = build.build_model(config)
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
        build.build_model(config)


def test_batch_larger_than_the_data_set():
    config = tiny_config(data={"num_examples": 8})
    with pytest.raises(ValueError, match=r"batch_size=16 .*: 8 images"):
        build.build_sources(config)


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
        build.build_evaluation_sources(tiny_config(data=data))
