"""The wheel and the source distribution, and the README in an installed one."""

import email
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile

import pytest
from test_docs import FEWER, commands, shortened

import minc_tf

ROOT = pathlib.Path(__file__).parents[1]
IGNORED = shutil.ignore_patterns(
    *(".git", ".venv", ".*_cache", "__pycache__", "*.egg-info"),
    *("build", "dist", "runs", "node_modules", "site"),
)
#: Builds what a front end such as `build` would, in the current folder.
BUILD = """
import sys
from setuptools import build_meta

for kind in sys.argv[1:]:
    getattr(build_meta, f"build_{kind}")("dist")
"""

#: Runs console scripts one after the other, each as in a process of its own:
#: forked from this one, which has imported TensorFlow, and rendered few images.
SCRIPTS = """
import json, os, runpy, sys
import keras, tensorflow
from minc_tf.data import shapes

print(shapes.__file__, flush=True)
commands, fewer = map(json.loads, sys.argv[1:])
shapes.SPLITS.update(fewer)
for command in commands:
    child = os.fork()
    if not child:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")
        sys.exit("a console script ends with sys.exit")
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(f"failed: {command}")
"""

# Slow: each builds, or installs and trains, in processes of its own.
pytestmark = pytest.mark.slow


def environment():
    """The variables of a shell that knows nothing of this checkout."""
    hidden = ("PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL")
    return {k: v for k, v in os.environ.items() if k not in hidden}


def call(*arguments, cwd):
    """A finished process, which must succeed."""
    done = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (arguments, done.stderr[-3000:])
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A copy of the tree, its wheel, its sdist and the wheel of this."""
    folder = tmp_path_factory.mktemp("built")
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=IGNORED)
    call(sys.executable, "-c", BUILD, "sdist", "wheel", cwd=tree)
    (sdist,) = (tree / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        # The filter is not in the first releases of Python 3.11.
        file.extractall(folder)
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    call(sys.executable, "-c", BUILD, "wheel", cwd=unpacked)
    (wheel,) = (tree / "dist").glob("*.whl")
    (again,) = (unpacked / "dist").glob("*.whl")
    return tree, wheel, unpacked, again


def contents(wheel):
    """The bytes of a wheel's files by their names."""
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_wheel_has_the_library_and_its_recipes(built):
    tree, wheel, *_ = built
    found = contents(wheel)
    for path in (tree / "minc_tf").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert str(path.relative_to(tree)) in found
    for path in (tree / "recipes").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            name = f"minc_tf/{path.relative_to(tree)}"
            assert found[name] == path.read_bytes()
    tops = {name.partition("/")[0] for name in found}
    assert tops == {"minc_tf", f"minc_tf-{minc_tf.__version__}.dist-info"}


def test_sdist_has_the_repository_and_builds_the_same_wheel(built):
    tree, wheel, unpacked, again = built
    for folder in ("docs", "deploy", "benchmarks", "tests", "recipes"):
        for path in (tree / folder).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                assert (unpacked / path.relative_to(tree)).exists(), path
    for path in tree.glob("[!.]*"):
        if path.name not in ("savedmodels", "dist", "minc_tf.egg-info"):
            assert (unpacked / path.name).exists(), path
    one, other = contents(wheel), contents(again)
    assert one.keys() == other.keys()
    assert all(one[name] == other[name] for name in one)


def test_metadata(built):
    _, wheel, *_ = built
    name = f"minc_tf-{minc_tf.__version__}.dist-info/METADATA"
    found = email.message_from_bytes(contents(wheel)[name])
    assert found["Version"] == minc_tf.__version__
    for key in ("Author", "Keywords", "Project-URL", "Summary"):
        assert found[key]
    classifiers = found.get_all("Classifier")
    for minor in (11, 12, 13):
        assert f"Programming Language :: Python :: 3.{minor}" in classifiers
    text = found.get_payload()
    assert "# minc_tf" in text and "docs/photos.md" in text
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links and all(link.startswith("https://") for link in links)


def test_readme_runs_where_only_the_wheel_is(built, tmp_path):
    """Its commands, short, far from the repository."""
    _, wheel, *_ = built
    venv = tmp_path / "venv"
    call(sys.executable, "-m", "venv", "--without-pip", venv, cwd=tmp_path)
    python = venv / "bin/python"
    install = ("--quiet", "install", "--no-deps", "--no-index", wheel)
    call(*(sys.executable, "-m", "pip", "--python", python), *install, cwd=venv)
    # What it depends on is this environment's, which may have the library too.
    (packages,) = venv.glob("lib/python*/site-packages")
    present = sysconfig.get_path("purelib")
    (packages / "present.pth").write_text(f"{present}\n")
    found = commands(ROOT / "README.md")
    assert [name for name, *_ in found].count("minc-pretrain") == 2
    scripts = []
    for name, *arguments in found:
        flags = list(shortened(name, *arguments)[1:])
        if any("strategy" in argument for argument in arguments):
            flags.append("--config.report.num_examples=0")
        scripts.append([str(venv / "bin" / name), *flags])
    given = map(json.dumps, (scripts, FEWER))
    done = call(python, "-c", SCRIPTS, *given, cwd=tmp_path)
    assert done.stdout.startswith(str(packages))
    help_text = call(venv / "bin/minc-pretrain", "--help", cwd=tmp_path)
    assert help_text.stdout.startswith("Pretrain an encoder")
    assert help_text.stderr == ""
    assert (tmp_path / "runs/shapes/report.html").exists()
    assert (tmp_path / "savedmodels/shapes/1/saved_model.pb").exists()
    assert "knn" in (tmp_path / "runs/shapes/evaluation.json").read_text()
