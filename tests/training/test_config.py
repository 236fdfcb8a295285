"""Settings: what is refused, and in which words."""

import json

import pytest
from ml_collections import ConfigDict

from minc_tf.training import default_config, load_recipe, validate
from minc_tf.training.config import to_json

from .conftest import tiny_config


def refused(config, *parts):
    """The message of the refusal, which must hold all the parts."""
    with pytest.raises(ValueError) as caught:
        validate(config)
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert "\n" not in message


def heads_config(**changes):
    """The tiny settings with a predictor and a target network."""
    config = tiny_config(target={"momentum": 0.9})
    config.predictor = {"widths": (4, 8), "final_bias": False}
    config.optimizer.predictor_rate = "constant"
    for key, value in changes.items():
        config[key].update(value)
    return config


@pytest.mark.parametrize("section", ["objective", "encoder", "optimizer"])
@pytest.mark.parametrize("name", [3, ["minc"]])
def test_name_that_is_no_string(section, name):
    config = tiny_config()
    config[section] = {"name": name}
    refused(config, f"config.{section}.name must be one of ", str(name))


def test_defaults_and_tiny_settings_are_valid():
    validate(default_config())
    validate(tiny_config())
    validate(heads_config())
    # As they come back from config.json: tuples are lists there.
    validate(ConfigDict(json.loads(to_json(tiny_config()))))


def test_predictor_and_target_survive_json():
    config = heads_config(target={"momentum": 0.75, "schedule": "constant"})
    again = ConfigDict(json.loads(to_json(config)))
    validate(again)
    assert again.predictor.to_dict() == {"widths": [4, 8], "final_bias": False}
    assert again.target.to_dict() == {"momentum": 0.75, "schedule": "constant"}
    assert again.optimizer.predictor_rate == "constant"
    assert to_json(again) == to_json(config)


@pytest.mark.parametrize("momentum", [0, 0.0, 1.0, None])
def test_ends_of_the_range_of_momentum(momentum):
    validate(heads_config(target={"momentum": momentum}))


@pytest.mark.parametrize(
    ("section", "key", "near"),
    [
        ("", "batchsize", "batch_size"),
        ("", "objectve", "objective"),
        ("data", "num_example", "num_examples"),
        ("monitor", "evry", "every"),
        ("views", "bluer", "blur"),
        ("views", "solarise_p", "solarize_p"),
        ("encoder", "filter", "filters"),
        ("projector", "width", "widths"),
        ("predictor", "width", "widths"),
        ("predictor", "final_biass", "final_bias"),
        ("target", "momentun", "momentum"),
        ("target", "scedule", "schedule"),
        ("objective", "triangle", "triangular"),
        ("optimizer", "weight_dekay", "weight_decay"),
        ("optimizer", "warmup", "warmup_epochs"),
        ("optimizer", "predictor_rates", "predictor_rate"),
    ],
)
def test_unknown_key_names_the_nearest(section, key, near):
    config = tiny_config().unlock()
    (config[section] if section else config)[key] = 1
    prefix = f"config.{section}." if section else "config."
    refused(
        config, f"{prefix}{key} is not a setting; did you mean {prefix}{near}?"
    )


def test_unknown_key_far_from_all_lists_them():
    config = tiny_config()
    config.projector.qqq = 1
    refused(config, "config.projector.qqq is not a setting; Valid are widths,")


@pytest.mark.parametrize(
    ("section", "key", "value", "near"),
    [
        ("objective", "name", "mink", "minc"),
        ("objective", "name", "spektral", "spectral"),
        ("optimizer", "name", "adam", "adamw"),
        ("views", "preset", "simclear", "simclr"),
        ("target", "schedule", "cosin", "cosine"),
        ("optimizer", "predictor_rate", "const", "constant"),
    ],
)
def test_unknown_choice_names_the_nearest(section, key, value, near):
    config = heads_config()
    config[section][key] = value
    refused(
        config,
        f"config.{section}.{key} must be one of",
        f"received {value!r}; did you mean {near!r}?",
    )


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"objective": {"dim": 16}},
            ["config.objective.dim=16", "config.projector.widths=(16, 8)"],
        ),
        (
            {"micro_batches": 3},
            ["config.micro_batches=3 must divide config.batch_size=16"],
        ),
        ({"batch_size": 0}, ["config.batch_size", "received 0"]),
        ({"epochs": -1}, ["config.epochs", "received -1"]),
        ({"seed": -1}, ["config.seed", "received -1"]),
        ({"precision": "float8"}, ["config.precision", "'float8'"]),
        (
            {"optimizer": {"learning_rate": -0.1}},
            ["config.optimizer.learning_rate", "received -0.1"],
        ),
        (
            {"optimizer": {"learning_rate": float("nan")}},
            ["config.optimizer.learning_rate", "received nan"],
        ),
        (
            {"optimizer": {"warmup_epochs": -1}},
            ["config.optimizer.warmup_epochs", "received -1"],
        ),
        ({"projector": {"widths": ()}}, ["config.projector.widths", "()"]),
        (
            {"optimizer": {"predictor_rate": "constant"}},
            [
                "config.optimizer.predictor_rate='constant'",
                "needs config.predictor; received none",
            ],
        ),
        (
            {"optimizer": {"predictor_rate": "linear"}},
            ["config.optimizer.predictor_rate must be one of", "'linear'"],
        ),
    ],
)
def test_value_without_meaning(changes, parts):
    refused(tiny_config(**changes), *parts)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"predictor": {"widths": (4, 6)}},
            [
                "config.predictor.widths=(4, 6) must end in the embedding's",
                "config.projector.widths=(16, 8)",
            ],
        ),
        ({"predictor": {"widths": ()}}, ["config.predictor.widths", "()"]),
        (
            {"target": {"momentum": 1.5}},
            [
                "config.target.momentum must be a number in [0, 1]",
                "received 1.5",
            ],
        ),
        ({"target": {"momentum": -0.1}}, ["[0, 1]", "received -0.1"]),
        ({"target": {"momentum": float("nan")}}, ["[0, 1]", "received nan"]),
        (
            {"target": {"schedule": "linear"}},
            ["config.target.schedule must be one of 'cosine', 'constant'"],
        ),
        (
            {"optimizer": {"predictor_rate": "linear"}},
            [
                "config.optimizer.predictor_rate must be one of 'scheduled', "
                "'constant'; received 'linear'"
            ],
        ),
    ],
)
def test_heads_and_target_without_meaning(changes, parts):
    refused(heads_config(**changes), *parts)


@pytest.mark.parametrize(
    ("section", "value", "missing"),
    [
        ("objective", {"name": "minc"}, "objective.dim"),
        ("views", {"preset": "simclr"}, "views.size"),
        ("optimizer", {"name": "sgd"}, "optimizer.learning_rate"),
        ("projector", {}, "projector.widths"),
        ("predictor", {"final_bias": False}, "predictor.widths"),
    ],
)
def test_missing_key_is_named(section, value, missing):
    config = tiny_config()
    config[section] = value
    refused(config, f"config.{missing} is missing")


def test_sections_with_arguments_can_be_extended():
    config = default_config()
    config.objective.triangular = False
    config.views.hue = 0.0
    validate(config)
    with pytest.raises(AttributeError, match="batch_size"):
        config.batchsize = 3
    with pytest.raises(AttributeError, match="num_examples"):
        config.data.num_example = 3


def recipe(tmp_path, body):
    """A recipe file whose `get_config` has a line of its own."""
    path = tmp_path / "recipe.py"
    path.write_text(
        "from minc_tf.training import default_config\n\n\n"
        "def get_config():\n    config = default_config()\n"
        f"    {body}\n    return config\n"
    )
    return path


def test_recipe_is_loaded(tmp_path):
    config = load_recipe(recipe(tmp_path, "config.epochs = 3"))
    assert config.epochs == 3


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ("config.batchsize = 3", ['"batchsize"', 'Did you mean "batch_size"']),
        ("config.batch_size = 'a'", ["'batch_size'", "<class 'int'>"]),
        ("config.epochs =", ["invalid syntax", "line 6"]),
    ],
)
def test_recipe_with_a_mistake(tmp_path, body, parts):
    path = recipe(tmp_path, body)
    with pytest.raises(ValueError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert message.startswith(f"recipe {str(path)!r}: ")
    for part in parts:
        assert part in message
    assert "\n" not in message
    assert len(message) < 300 + len(str(path))


def test_recipe_without_get_config(tmp_path):
    path = tmp_path / "recipe.py"
    path.write_text("epochs = 3\n")
    with pytest.raises(ValueError, match=r"defines no get_config\(\)"):
        load_recipe(path)


def write(path, signature, value):
    """A recipe whose `get_config` has these parameters."""
    path.write_text(
        "from minc_tf.training import default_config\n\n\n"
        f"def get_config({signature}):\n    config = default_config()\n"
        f"    config.data.data_dir = {value}\n    return config\n"
    )
    return path


def test_argument_of_a_recipe(tmp_path):
    path = write(tmp_path / "a.py", "name='x'", "name")
    assert load_recipe(path).data.data_dir == "x"
    assert load_recipe(f"{path}:y").data.data_dir == "y"
    assert load_recipe(f"{path}:pkg.mod:Y").data.data_dir == "pkg.mod:Y"
    assert load_recipe(f"{path}:").data.data_dir == ""
    other = write(tmp_path / "a.py:y", "name='x'", "name + '!'")
    assert load_recipe(other).data.data_dir == "x!"
    assert load_recipe(f"{other}:z").data.data_dir == "z!"


@pytest.mark.parametrize(
    ("signature", "argument", "message"),
    [
        ("", ":y", r"a\.py:y': its get_config\(\) takes no .* received 'y'"),
        ("name", "", r"a\.py' needs an argument: .*a\.py:ARGUMENT"),
    ],
)
def test_argument_too_many_or_missing(tmp_path, signature, argument, message):
    path = write(tmp_path / "a.py", signature, "'x'")
    with pytest.raises(ValueError, match=message):
        load_recipe(f"{path}{argument}")


def test_a_recipe_that_is_now_an_argument(tmp_path):
    write(tmp_path / "cifar10.py", "name='x'", "name")
    with pytest.raises(FileNotFoundError, match=r"mean '.*cifar10\.py:byol'\?"):
        load_recipe(tmp_path / "cifar10" / "byol.py")
    with pytest.raises(FileNotFoundError, match=r"byol\.py' does not exist\.$"):
        load_recipe(tmp_path / "cifar100" / "byol.py:x")


def test_missing_recipe(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nope\.py' does not exist"):
        load_recipe(tmp_path / "nope.py")
