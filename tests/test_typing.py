"""Annotations of the public names, and what a type checker makes of them."""

import ast
import importlib
import importlib.util
import inspect
import pathlib
import re
import subprocess
import sys

import pytest

import minc_tf

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = [
    "minc_tf",
    *(
        f"minc_tf.{name}"
        for name in minc_tf.__all__
        if inspect.ismodule(getattr(minc_tf, name))
    ),
]


def public_functions(package):
    """Functions and methods of the public names of a package, by name."""
    module = importlib.import_module(package)
    for name in module.__all__:
        found = getattr(module, name)
        if inspect.isclass(found):
            for attribute, value in vars(found).items():
                public = attribute in ("__init__", "__call__")
                if not public and attribute.startswith("_"):
                    continue
                value = getattr(value, "fget", value)
                value = getattr(value, "__func__", value)
                value = getattr(value, "func", value)  # cached_property
                yield f"{name}.{attribute}", value
        elif inspect.ismodule(found):
            for attribute, value in vars(found).items():
                own = getattr(value, "__module__", None) == found.__name__
                if own and not attribute.startswith("_"):
                    yield f"{name}.{attribute}", value
        else:
            yield name, found


def lacking(function):
    """What of a function of this library has no annotation."""
    if not inspect.isfunction(function):
        return []
    function = inspect.unwrap(function)
    # Those that dataclasses write are in no file.
    if not function.__code__.co_filename.startswith(minc_tf.__path__[0]):
        return []
    signature = inspect.signature(function)
    names = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.annotation is inspect.Parameter.empty
        and name not in ("self", "cls")
    ]
    if signature.return_annotation is inspect.Signature.empty:
        names.append("return")
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_public_signatures_are_annotated(package):
    functions = dict(public_functions(package))
    assert sum(map(inspect.isfunction, functions.values())) >= 2
    found = {name: lacking(each) for name, each in functions.items()}
    assert {name: names for name, names in found.items() if names} == {}


def for_checkers(path):
    """What a package imports only for type checkers: modules by name."""
    tree = ast.parse(path.read_text())
    blocks = [
        node
        for node in tree.body
        if isinstance(node, ast.If)
        and getattr(node.test, "id", None) == "TYPE_CHECKING"
    ]
    found = {}
    for node in (line for block in blocks for line in block.body):
        for alias in node.names:
            # An alias of the same name is one that others may import.
            assert alias.asname == alias.name
            found[alias.name] = node.module
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_checkers_see_what_is_imported_late(package):
    module = importlib.import_module(package)
    lazy = getattr(module, "_LAZY", {})
    if package == "minc_tf":
        models = set(module.__all__) & set(minc_tf.models.__all__)
        wanted = dict.fromkeys(module.__all__, "minc_tf")
        wanted |= dict.fromkeys(models, "minc_tf.models")
    else:
        wanted = {
            name: importlib.util.resolve_name(
                place if place.startswith(".") else f".{place}",
                "minc_tf" if place.startswith(".") else package,
            )
            for name, place in lazy.items()
        }
    assert for_checkers(pathlib.Path(module.__file__)) == wanted


def test_the_package_says_that_it_is_typed():
    assert (pathlib.Path(minc_tf.__file__).parent / "py.typed").exists()


#: A misspelt argument and a wrong type, which a checker must see.
FAULTS = """
import minc_tf

minc_tf.MINCModel(None, None, mcro_batches=2)
minc_tf.data.load("shapes", num_examples="many")
minc_tf.data.load("shapes").examples
minc_tf.data.load("shapes").exampels
"""


@pytest.mark.slow  # mypy reads NumPy and the library.
def test_a_checker_takes_the_docs(tmp_path):
    """The Python of README and docs calls the library as annotated."""
    pytest.importorskip("mypy")
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        blocks = re.findall(
            r"^```python\n(.*?)^```", page.read_text(), re.M | re.S
        )
        for number, block in enumerate(blocks):
            name = f"{page.stem}_{number}.py".lower()
            (tmp_path / name).write_text(block)
    (tmp_path / "faults.py").write_text(FAULTS)
    assert len(list(tmp_path.glob("*.py"))) > 20
    settings = ["--ignore-missing-imports", "--follow-imports=silent"]
    found = subprocess.run(
        [sys.executable, "-m", "mypy", *settings, "--config-file=", "."],
        cwd=tmp_path,
        env={"PATH": "", "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in found.stdout.splitlines() if ": error:" in line]
    faults = [line for line in errors if line.startswith("faults.py")]
    assert [line.partition(" error: ")[2] for line in faults] == [
        'Unexpected keyword argument "mcro_batches" for "MINCModel"; did you '
        'mean "micro_batches"?  [call-arg]',
        'Argument "num_examples" to "load" has incompatible type "str"; '
        'expected "int | None"  [arg-type]',
        '"ImageSource" has no attribute "exampels"; maybe "examples"?  '
        "[attr-defined]",
    ]
    assert [line for line in errors if line not in faults] == []
