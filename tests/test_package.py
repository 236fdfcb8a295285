"""What `import minc_tf` does, and what it does not."""

import json
import subprocess
import sys

import pytest

import minc_tf

#: Imports the package with every warning shown, as TensorFlow and Keras
#: would be there without it, and tells what came of it.
FRESH = """
import json, sys, warnings
import keras, tensorflow

before = set(sys.modules)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import minc_tf
print(json.dumps({
    "warnings": [str(warning.message) for warning in caught],
    "modules": sorted(set(sys.modules) - before),
}))
"""

HEAVY = (
    "jinja2",
    "keras_cv",
    "matplotlib",
    "ml_collections",
    "scipy",
    "sklearn",
    "tensorboard",
    "tensorflow_datasets",
    "tqdm",
)


@pytest.fixture(scope="module")
def fresh():
    """A process that only imports the package."""
    return subprocess.run(
        [sys.executable, "-c", FRESH],
        capture_output=True,
        text=True,
        check=True,
    )


def test_import_is_silent(fresh):
    assert json.loads(fresh.stdout.splitlines()[-1])["warnings"] == []
    assert len(fresh.stdout.splitlines()) == 1
    assert "minc_tf" not in fresh.stderr
    assert "Warning" not in fresh.stderr


def test_import_stays_light(fresh):
    modules = json.loads(fresh.stdout.splitlines()[-1])["modules"]
    assert "minc_tf.objectives.minc" in modules
    roots = {name.partition(".")[0] for name in modules}
    assert roots.isdisjoint(HEAVY)
    assert "minc_tf.training" not in modules


@pytest.mark.parametrize("name", minc_tf.__all__)
def test_public_names_resolve(name):
    found = getattr(minc_tf, name)
    assert name in dir(minc_tf)
    for inner in getattr(found, "__all__", ()):
        assert hasattr(found, inner)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trainning'"):
        _ = minc_tf.trainning
