"""What `import minc_tf` does, and what it does not."""

import ast
import graphlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from compiling import QUICKLY

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
    "registered": bool(keras.saving.get_registered_object("minc_tf>MINC")),
    "first class": minc_tf.data.shapes.CLASS_NAMES[0],
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
    found = json.loads(fresh.stdout.splitlines()[-1])
    assert found["warnings"] == []
    assert found["registered"]
    assert len(fresh.stdout.splitlines()) == 1
    assert "minc_tf" not in fresh.stderr
    assert "Warning" not in fresh.stderr


def test_import_stays_light(fresh):
    modules = json.loads(fresh.stdout.splitlines()[-1])["modules"]
    assert "minc_tf.objectives.minc" in modules
    roots = {name.partition(".")[0] for name in modules}
    assert roots.isdisjoint(HEAVY)
    assert "minc_tf.training" not in modules


def test_modules_are_attributes_without_an_import(fresh):
    found = json.loads(fresh.stdout.splitlines()[-1])
    assert "minc_tf.data.shapes" not in found["modules"]
    assert found["first class"] == "disk"


@pytest.mark.parametrize("name", minc_tf.__all__)
def test_public_names_resolve(name):
    found = getattr(minc_tf, name)
    assert name in dir(minc_tf)
    for inner in getattr(found, "__all__", ()):
        assert hasattr(found, inner)


def test_no_module_has_the_name_of_what_it_holds():
    """Else the package has the one or the other, whichever came last."""
    for package in (
        minc_tf.augment,
        minc_tf.data,
        minc_tf.evaluation,
        minc_tf.training,
    ):
        for name in package._LAZY:
            assert not importlib.util.find_spec(f"{package.__name__}.{name}")


def room_of(name):
    """The package of a module's name, of `evaluation` with its room."""
    first, *rest = (*name.split(".")[1:], "")
    rooms = ("protocols", "monitors", "embedding", "streaming")
    if first == "evaluation" and rest[0] in rooms:
        return f"evaluation.{rest[0]}"
    return first


def test_packages_import_in_one_direction():
    """No package, and no room of `evaluation`, imports what imports it."""
    root = pathlib.Path(minc_tf.__file__).parent
    known = {path.name for path in root.iterdir() if path.is_dir()}
    imported = {}
    for path in root.rglob("*.py"):
        name = ".".join(("minc_tf", *path.relative_to(root).parts))
        own = imported.setdefault(room_of(name.removesuffix(".py")), set())
        tree = ast.parse(path.read_text())
        if path.name == "__init__.py":
            # What is there for type checkers is imported when it is used.
            tree.body = [n for n in tree.body if not isinstance(n, ast.If)]
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom):
                continue
            if node.module.partition(".")[0] == "minc_tf":
                own |= {room_of(f"{node.module}.{a.name}") for a in node.names}
    graph = {
        room: {other for other in others if other.split(".")[0] in known}
        for room, others in imported.items()
        if room.split(".")[0] in known
    }
    for room in graph:
        graph[room].discard(room)
    assert "evaluation.protocols" in graph["evaluation.monitors"]
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order.index("report") > order.index("diagnostics")


#: Lets a process find no package of this name.
HIDE = """
from importlib.machinery import PathFinder

find = PathFinder.find_spec


def find_others(name, *args):
    return None if name.partition(".")[0] == {!r} else find(name, *args)


PathFinder.find_spec = find_others
"""


def run(program, backend, missing):
    """A process on a backend, in which a package is not installed."""
    return subprocess.run(
        [sys.executable, "-c", HIDE.format(missing) + program],
        env={**os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": QUICKLY},
        capture_output=True,
        text=True,
        check=False,
    )


#: Trains from arrays, then asks for what needs TensorFlow.
WITHOUT_TENSORFLOW = """
import keras, numpy as np, minc_tf

keras.utils.set_random_seed(0)
encoder = minc_tf.models.small_resnet(image_shape=(8, 8, 3), filters=(2,))
model = minc_tf.build("minc", encoder, projector_widths=(4,))
model.compile("sgd")
views = np.random.default_rng(0).uniform(0, 255, (2, 4, 8, 8, 3))
print(model.fit(*views, verbose=0).history["loss"])
for package in (
    minc_tf,
    minc_tf.data,
    minc_tf.evaluation,
    minc_tf.report,
    minc_tf.training,
):
    for name in package.__all__:
        try:
            getattr(package, name)
        except ImportError as error:
            print(error)
"""


def test_training_from_arrays_without_tensorflow():
    pytest.importorskip("jax")
    found = run(WITHOUT_TENSORFLOW, "jax", missing="tensorflow")
    assert found.returncode == 0, found.stderr
    losses, *errors = found.stdout.splitlines()
    (loss,) = json.loads(losses)
    assert np.isfinite(loss)
    assert errors[0] == (
        "minc_tf.export needs TensorFlow, which is not installed: pip install "
        "minc_tf."
    )
    messages = dict(error.split(" ", 1) for error in errors[1:])
    missing = "needs TensorFlow, and tensorflow is not installed: pip install"
    for name in ("data.load", "data.load_npz", "evaluation.finetune"):
        assert messages.pop(f"minc_tf.{name}").startswith(missing)
    for name in (
        "CollapseAlarm",
        "CollapseMonitor",
        "DiagnosticsMonitor",
        "KNNMonitor",
        "encoder_function",
        "extract",
        "knn_accuracy",
    ):
        assert f"minc_tf.evaluation.{name}" not in messages
    reports = {n: m for n, m in messages.items() if ".report." in n}
    assert reports.keys() == {
        "minc_tf.report.write_projector",
        "minc_tf.report.write_spectrum",
    }
    trained = {n: m for n, m in messages.items() if ".training." in n}
    assert trained == {
        f"minc_tf.training.{name}": "needs Keras's TensorFlow backend; the "
        "backend is 'jax'."
        for name in ("inspect", "make_strategy")
    }


#: A probe trains on JAX, too, where TensorFlow is installed; no export is made.
ON_JAX = """
import numpy as np, minc_tf
from minc_tf.evaluation.protocols.heads import LinearHeads

x = np.eye(4, dtype="float32")
heads = LinearHeads([1.0, 3.0], 4, 4)
for _ in range(5):
    heads.train(x, np.arange(4), 1.0)
print(heads.accuracies(x, np.arange(4)))
print(minc_tf.evaluation.knn_predict(x, np.arange(4), x, k=1))
minc_tf.export
"""


def test_savedmodels_are_written_on_tensorflow():
    pytest.importorskip("jax")
    found = run(ON_JAX, "jax", missing="nothing")
    assert found.stdout.splitlines() == ["[1.0, 1.0]", "[0 1 2 3]"]
    last = found.stderr.splitlines()[-1]
    assert last.startswith("ImportError: minc_tf.export needs Keras's Tensor")
    assert "the backend is 'jax'. Save the model" in last


@pytest.mark.parametrize(
    "backend, missing, message",
    [
        ("tensorflow", "tensorflow", "keras is set to a backend that needs t"),
        ("jax", "jax", "keras is set to a backend that needs jax, which is no"),
        # Keras's NumPy backend itself needs JAX.
        ("numpy", "jax", "keras is set to a backend that needs jax, which is"),
        pytest.param(
            "numpy",
            "nothing",
            "JAX backend; the backend is 'numpy'",
            marks=pytest.mark.skipif(
                not importlib.util.find_spec("jax"), reason="it needs JAX"
            ),
        ),
    ],
)
def test_a_backend_that_is_missing_or_another(backend, missing, message):
    found = run("import minc_tf; minc_tf.build", backend, missing)
    last = found.stderr.splitlines()[-1]
    assert last.startswith("ImportError: minc_tf")
    assert message in last
    assert "et KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax" in last


#: Each a process in which Keras comes at another time, or not; in that of
#: `fresh` it comes first.
ORDERS = {
    "import minc_tf": False,
    "import minc_tf.data.limits": False,
    "import minc_tf, keras": True,
    "from minc_tf.objectives import MINC": True,
    "from minc_tf import _pixels, training; training.run": True,
    "import minc_tf; minc_tf.evaluation.knn_accuracy": True,
}
#: The classes that a saved model may name, if Keras is there.
REGISTERED = """
import sys
if "keras" in sys.modules:
    import keras
    for name in ("MINC", "MINCModel", "LARS", "TwoViews"):
        assert keras.saving.get_registered_object(f"minc_tf>{name}"), name
print("keras" in sys.modules)
"""


@pytest.mark.parametrize("program, keras", ORDERS.items())
def test_classes_are_registered_as_soon_as_keras_is_there(program, keras):
    pytest.importorskip("jax")
    found = run(program + "\n" + REGISTERED, "jax", missing="tensorflow")
    assert found.stdout == f"{keras}\n", found.stderr


def test_names_are_those_of_dir_and_of_stars():
    space = {}
    exec("from minc_tf import *", space)
    assert set(minc_tf.__all__) <= space.keys()
    assert set(dir(minc_tf)) == {*minc_tf.__all__, "__version__"}


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trainning'"):
        _ = minc_tf.trainning
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = minc_tf.data.lode
