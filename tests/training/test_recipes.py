"""The recipes of the repository."""

import pathlib
import runpy

import pytest

from minc_tf.training import build, load_recipe, validate

ROOT = pathlib.Path(__file__).parents[2]
RECIPES = sorted(
    str(path.relative_to(ROOT)) for path in ROOT.glob("recipes/*/*.py")
)


def test_there_are_recipes():
    assert {
        "recipes/cifar10/minc.py",
        "recipes/cifar10/minc_cpu.py",
        "recipes/cifar10/spectral_cpu.py",
        "recipes/shapes/minc.py",
    } <= set(RECIPES)


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
