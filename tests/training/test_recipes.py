"""The recipes of the repository."""

import json
import pathlib
import runpy

import pytest

import minc_tf
from minc_tf._recipes import library_recipes, recipe_lines
from minc_tf.training import (
    from_settings,
    load_recipe,
    tensorflow_images,
    validate,
)
from minc_tf.training.config import to_json

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.py", "*/*.py")
    for path in (ROOT / "recipes").glob(pattern)
    if path.name != "minc_minimal.py"
)
#: One of each encoder, set of heads and file; the rest is checked as data, and
#: test_recipes_run trains `imagenet.py:byol`.
BUILT = [
    *FILES,
    "recipes/cifar10.py:simsiam",
    "recipes/cifar10.py:minc_cpu",
    "recipes/cifar10.py:spectral_cpu",
    "recipes/cifar10.py:linear_byol",
    "recipes/imagenet.py:minc_2x",
    "recipes/imagenet.py:spectral",
]


def settings_of(recipe):
    """The settings of a recipe as plain data."""
    return json.loads(to_json(load_recipe(ROOT / recipe)))


def test_there_are_recipes():
    assert {"recipes/shapes/minc.py", "recipes/cifar10.py"} <= set(FILES)


def test_recipes_of_methods_differ_only_where_the_methods_do():
    shared = runpy.run_path(str(ROOT / "recipes/cifar10.py"))["shared"]
    base = json.loads(to_json(shared()))
    for method in minc_tf.methods():
        config = load_recipe(ROOT / f"recipes/cifar10.py:{method}")
        validate(config)
        found = json.loads(to_json(config))
        differing = {key for key in base if found[key] != base[key]}
        assert differing <= {
            "objective",
            "projector",
            "predictor",
            "target",
            "optimizer",
            "batch_size",
        }
        row = minc_tf.models.METHODS[method]
        for key, value in row.arguments.items():
            assert found["objective"][key] == value
        assert found["target"]["momentum"] == row.target_momentum
        assert bool(found["predictor"]) == (row.predictor is not None)
        assert found["objective"]["name"] == row.objective_name


@pytest.mark.parametrize(
    ("method", "rate", "decay", "batch"),
    [
        ("simclr", 1.0, 1e-4, 512),
        ("mio", 1.0, 1e-4, 512),
        ("linear_byol", 1.0, 1e-5, 256),
        ("barlow_twins", 0.3, 1e-4, 256),
        ("simsiam", 0.03, 5e-3, 512),
        ("minc", 0.03, 5e-3, 512),
    ],
)
def test_a_method_has_its_published_optimizer(method, rate, decay, batch):
    config = load_recipe(ROOT / f"recipes/cifar10.py:{method}")
    assert config.optimizer.learning_rate == rate
    assert config.optimizer.weight_decay == decay
    assert config.batch_size == batch


@pytest.mark.parametrize("file", FILES)
def test_without_an_argument_it_is_minc(file):
    found = settings_of(file)
    assert found["objective"]["name"] == "minc"
    assert found["objective"]["triangular"] is False
    if "shapes" not in file:
        assert settings_of(f"{file}:minc") == found


@pytest.mark.parametrize("file", ["cifar100", "stl10", "tiny_imagenet"])
def test_other_data_sets_take_the_methods_of_cifar10(file):
    found = settings_of(f"recipes/{file}.py:byol")
    cifar10 = settings_of("recipes/cifar10.py:byol")
    assert found["data"]["name"] != cifar10["data"]["name"]
    for key in ("objective", "predictor", "target", "optimizer"):
        assert found[key] == cifar10[key]


@pytest.mark.parametrize(
    "recipe", ["recipes/cifar100.py:simsian", "recipes/imagenet100.py:simsian"]
)
def test_unknown_argument_names_those_that_exist(recipe):
    with pytest.raises(ValueError, match=r"one of .*minc.*received 'simsian'"):
        load_recipe(ROOT / recipe)


@pytest.mark.parametrize("recipe", BUILT)
def test_recipe_is_valid_and_builds(recipe):
    config = load_recipe(ROOT / recipe)
    validate(config)
    views = tensorflow_images.build_views(config)
    assert views.size == (config.views.size, config.views.size)
    model = from_settings.build_model(config)
    widths = config.projector.widths
    assert model.projector.output_shape == (None, widths[-1])
    from_settings.build_optimizer(config, 100, model)


@pytest.mark.parametrize("file", FILES)
def test_docstring_has_the_command(file):
    text = runpy.run_path(str(ROOT / file))["__doc__"]
    name = pathlib.Path(file).with_suffix("").parts[1:]
    argument = [] if "shapes" in file else ["minc"]
    recipe = ":".join(["minc_tf", *name, *argument])
    assert f"minc-pretrain --config {recipe} --workdir " in text


def test_recipes_of_the_library_have_names():
    paths = {str(path.relative_to(ROOT)) for path in library_recipes().values()}
    assert paths == set(FILES)
    for name, path in (
        ("minc_tf:cifar10:byol", "recipes/cifar10.py:byol"),
        ("minc_tf:cifar10", "recipes/cifar10.py"),
        ("minc_tf:shapes:minc", "recipes/shapes/minc.py"),
        ("minc_tf:shapes/minc", "recipes/shapes/minc.py"),
    ):
        assert json.loads(to_json(load_recipe(name))) == settings_of(path)


def test_each_line_of_the_list_names_a_recipe():
    lines = recipe_lines()
    assert len(lines) == len(FILES)
    for line in lines:
        assert load_recipe(line.split()[0]).objective.name == "minc"


@pytest.mark.parametrize(
    "recipe, hint",
    [
        ("minc_tf:shapes", "did you mean 'minc_tf:shapes:minc'"),
        ("minc_tf:../recipes/cifar10", "none of the library's"),
        ("minc_tf:", "none of the library's"),
        ("cifar10:byol", "did you mean 'minc_tf:cifar10'"),
        ("else/recipes/cifar10.py:byol", "did you mean 'minc_tf:cifar10'"),
        ("nope.py", "'nope.py' does not exist\\.$"),
    ],
)
def test_a_recipe_that_is_not_there(recipe, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=hint):
        load_recipe(recipe)
