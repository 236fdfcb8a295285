"""What `use_method` and `set_widths` put into the settings."""

import json

import pytest

import minc_tf
from minc_tf.training import (
    default_config,
    from_settings,
    set_widths,
    use_method,
    validate,
)
from minc_tf.training.config import to_json

EPOCHS, STEPS = 3, 7
WITH_PREDICTOR = ["byol", "linear_byol", "simsiam"]
#: State with and without a target, a predictor of either rate, no `dim`.
DIFFERENT = ["minc", "minc_target", "linear_byol", "simsiam", "dcl_sq"]


def small_config():
    """Default settings with an encoder that is built at once."""
    config = default_config()
    config.epochs = EPOCHS
    config.encoder = {"name": "small_resnet", "filters": (8,)}
    return config


def settings_of(config):
    """The settings as plain data."""
    return json.loads(to_json(config))


def assert_same_heads(one, other):
    """Projectors and predictors are equal but for the weights' values."""
    for part in ("projector", "predictor", "target_projector"):
        first, second = getattr(one, part), getattr(other, part)
        assert (first is None) == (second is None)
        if first is not None:
            if part != "target_projector":
                assert first.get_config() == second.get_config()
            shapes = [weight.shape for weight in first.weights]
            assert shapes == [weight.shape for weight in second.weights]


def objective_of(model):
    """The objective's class and arguments."""
    config = model.objective.get_config()
    config.pop("name")
    return type(model.objective), config


def momentum_of(momentum):
    """A momentum, whether a number or a schedule, as plain data."""
    return momentum.get_config() if callable(momentum) else momentum


@pytest.fixture(scope="module")
def encoder():
    return minc_tf.models.small_resnet(filters=(4, 8))


@pytest.mark.parametrize("method", DIFFERENT)
def test_settings_give_the_model_that_build_gives(method, encoder):
    config = small_config()
    use_method(config, method)
    validate(config)
    found = from_settings.build_model(config)
    built = minc_tf.build(method, encoder, steps=EPOCHS * STEPS)
    assert type(found) is type(built)
    assert objective_of(found) == objective_of(built)
    assert_same_heads(found, built)
    assert (found.target_encoder is None) == (built.target_encoder is None)
    momentum = from_settings.target_momentum(config, STEPS)
    assert momentum_of(momentum) == momentum_of(built.target_momentum)


def test_only_simsiam_keeps_the_rate_of_its_predictor():
    config = small_config()
    for method in minc_tf.methods():
        use_method(config, method)
        rate = "constant" if method == "simsiam" else "scheduled"
        assert config.optimizer.predictor_rate == rate


@pytest.mark.parametrize("method", ["simclr", "simsiam"])
def test_other_settings_stay(method):
    config = small_config()
    config.batch_size = 48
    config.views.hue = 0.05
    config.target.schedule = "constant"
    config.optimizer = {
        "name": "lars",
        "learning_rate": 0.4,
        "scale_with_batch": True,
        "warmup_epochs": 2,
        "weight_decay": 1e-6,
    }
    before = settings_of(config)
    use_method(config, method)
    after = settings_of(config)
    for section in ("objective", "projector", "predictor"):
        before[section] = after[section]
    before["target"]["momentum"] = after["target"]["momentum"]
    before["optimizer"]["predictor_rate"] = after["optimizer"]["predictor_rate"]
    assert after == before


@pytest.mark.parametrize("first", [*WITH_PREDICTOR, "minc_target"])
def test_nothing_of_the_method_before_is_left(first):
    twice, once = small_config(), small_config()
    use_method(twice, first)
    use_method(twice, "vicreg")
    use_method(once, "vicreg")
    assert settings_of(twice) == settings_of(once)
    assert twice.predictor.to_dict() == {}
    assert twice.target.momentum is None


def test_settings_of_every_method_are_valid_and_survive_json():
    config = small_config()
    for method in minc_tf.methods():
        use_method(config, method)
        again = type(config)(settings_of(config))
        validate(again)
        assert settings_of(again) == settings_of(config)


def test_objective_arguments_change_the_methods_own(encoder):
    config = small_config()
    use_method(config, "dcl_sq", temperature=0.3)
    validate(config)
    built = minc_tf.build("dcl_sq", encoder, temperature=0.3)
    assert objective_of(from_settings.build_model(config)) == objective_of(
        built
    )
    use_method(config, "dcl_sq", temprature=0.3)
    with pytest.raises(ValueError, match=r"did you mean .*\.temperature\?"):
        validate(config)


@pytest.mark.parametrize("method", DIFFERENT)
def test_widths_are_set_together(method, encoder):
    config = small_config()
    use_method(config, method)
    set_widths(config, (16, 12))
    validate(config)
    found = from_settings.build_model(config)
    built = minc_tf.build(method, encoder, projector_widths=(16, 12))
    assert found.projector.output_shape == (None, 12)
    assert_same_heads(found, built)
    assert objective_of(found) == objective_of(built)


@pytest.mark.parametrize("method", WITH_PREDICTOR)
@pytest.mark.parametrize("hidden", [(), (5,), (7, 5)])
def test_widths_of_the_predictor(method, hidden, encoder):
    config = small_config()
    use_method(config, method)
    set_widths(config, [16, 12], hidden)
    validate(config)
    built = minc_tf.build(
        method,
        encoder,
        projector_widths=(16, 12),
        predictor_widths=(*hidden, 12),
    )
    assert_same_heads(from_settings.build_model(config), built)
    # Again, with what was set before as the hidden layers.
    set_widths(config, (16, 6))
    validate(config)
    assert tuple(config.predictor.widths) == (*hidden, 6)


def test_widths_of_settings_without_a_method():
    config = small_config()
    set_widths(config, (24, 10))
    validate(config)
    assert config.objective.dim == 10
    assert config.predictor.to_dict() == {}


def test_unknown_method_names_the_nearest():
    config = small_config()
    before = settings_of(config)
    with pytest.raises(ValueError, match="'simsian'; did you mean 'simsiam'"):
        use_method(config, "simsian")
    assert settings_of(config) == before
