"""The recipes of the repository."""

import json
import pathlib
import runpy

import pytest

import minc_tf
from minc_tf.training import build, load_recipe, validate
from minc_tf.training.config import to_json

ROOT = pathlib.Path(__file__).parents[2]
RECIPES = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.glob("recipes/*/*.py")
    if not path.name.startswith("_")
)


def test_there_are_recipes():
    assert {
        "recipes/cifar10/minc_cpu.py",
        "recipes/cifar10/spectral_cpu.py",
        "recipes/shapes/minc.py",
        *(f"recipes/cifar10/{name}.py" for name in minc_tf.methods()),
    } <= set(RECIPES)


@pytest.mark.parametrize("method", minc_tf.methods())
def test_recipes_of_methods_differ_only_where_the_methods_do(method):
    folder = ROOT / "recipes/cifar10"
    found, base = (
        json.loads(to_json(load_recipe(folder / f"{name}.py")))
        for name in (method, "_base")
    )
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


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_is_valid_and_builds(recipe):
    config = load_recipe(ROOT / recipe)
    validate(config)
    views = build.build_views(config)
    assert views.size == (config.views.size, config.views.size)
    model = build.build_model(config)
    widths = config.projector.widths
    assert model.projector.output_shape == (None, widths[-1])
    build.build_optimizer(config, 100, model)


@pytest.mark.parametrize("recipe", RECIPES)
def test_docstring_has_the_command(recipe):
    text = runpy.run_path(str(ROOT / recipe))["__doc__"]
    assert f"minc-pretrain --config {recipe} --workdir " in text
