"""What a command does before TensorFlow is there, and while it comes."""

import importlib.metadata
import json
import os
import subprocess
import sys

import pytest

import minc_tf
from minc_tf.cli import startup
from minc_tf.cli.app import UNREAD

COMMANDS = (
    "pretrain",
    "evaluate",
    "embed",
    "search",
    "export",
    "inspect",
    "report",
)

#: A command, after which the packages that take seconds are listed.
LIGHT = """
import json, sys

name, *arguments = json.loads(sys.argv[1])
sys.argv = [f"minc-{name}", *arguments]
try:
    __import__(f"minc_tf.cli.{name}")
    sys.modules[f"minc_tf.cli.{name}"].run()
finally:
    heavy = {"keras", "tensorflow", "jax", "numpy", "scipy", "matplotlib"}
    print("imported:", sorted(heavy & set(sys.modules)))
"""


def light(*arguments, **environment):
    """A finished process of a command, and the lines it printed."""
    return subprocess.run(
        [sys.executable, "-c", LIGHT, json.dumps(arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name):
    found = light(name, "--help")
    assert (found.returncode, found.stderr) == (0, "")
    *lines, imported = found.stdout.splitlines()
    assert imported == "imported: []"
    text = "\n".join(lines)
    assert lines[0][0].isupper() and lines[0].endswith(".")
    assert "Example" in text and f"  minc-{name} " in text
    assert "--[no]quiet" in text and "2 a flag, a setting" in text
    assert max(map(len, lines)) <= 80
    recipes = ("pretrain", "evaluate", "inspect")
    assert ("optimizer.learning_rate" in text) == (name in recipes)


def test_a_reader_that_leaves_is_no_error():
    """As `minc-embed --help | head -1` does."""
    arguments = [sys.executable, "-m", "minc_tf.cli.embed", "--help"]
    read, write = os.pipe()
    os.close(read)
    found = subprocess.run(
        arguments, stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (found.returncode, found.stderr) == (UNREAD, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_version(name):
    found = light(name, "--version", KERAS_BACKEND="none")
    assert (found.returncode, found.stderr) == (0, "")
    first, *others, imported = found.stdout.splitlines()
    assert imported == "imported: []"
    assert first == f"minc_tf {minc_tf.__version__}"
    keras = importlib.metadata.version("keras")
    assert others[0] == f"keras {keras}"
    assert [line.split()[0] for line in others] == [
        "keras",
        "tensorflow",
        "jax",
    ]


def test_export_of_a_version_is_not_asked_for_its_own(command):
    assert command("export", "--version").out.startswith("minc_tf ")
    for version in (["--version=2"], ["--version", "2"]):
        found = command("export", *version, "--workdir=none", "--name=x")
        assert "'none' holds no run" in found.err


def test_list_prints_a_line_a_recipe():
    found = light("pretrain", "--list")
    assert (found.returncode, found.stderr) == (0, "")
    *lines, imported = found.stdout.splitlines()
    assert imported == "imported: []"
    names = [line.split()[0] for line in lines]
    assert "minc_tf:cifar10:minc" in names and "minc_tf:shapes:minc" in names
    assert all(name.startswith("minc_tf:") for name in names)
    assert all(len(line.split()) > 4 for line in lines)


@pytest.mark.parametrize(
    "name, arguments, part",
    [
        ("pretrain", ["--config=minc_tf:cifar10", "--wrkdir=x"], "'wrkdir'"),
        ("pretrain", ["--config=minc_tf:cifar10"], "--workdir"),
        ("pretrain", ["--config=minc_tf:cifar1", "--workdir=x"], "minc_tf:cif"),
        ("inspect", ["--config=none.py", "--config.epochs=2"], "'none.py'"),
        ("inspect", ["--config=minc_tf:cifar10", "--images=x"], "--images"),
        ("report", ["--ot=x"], "'ot'"),
        ("search", ["build", "--out=x"], "--vectors"),
        ("search", ["--out=x"], "build or query"),
    ],
)
def test_wrong_flags_do_not_wait_for_tensorflow(name, arguments, part):
    found = light(name, *arguments)
    assert found.returncode == 2
    assert found.stdout.splitlines() == ["imported: []"]
    (line,) = found.stderr.splitlines()
    assert line.startswith("error: ") and part in line


#: A library that speaks as it starts, as TensorFlow's does.
SPEAKING = '''
import os


class config:
    def list_physical_devices():
        os.write(2, b"E0000 1.2 3 a.cc:5] failed call to cuInit: ERROR 303\\n")


os.write(2, b"""WARNING: All log messages before absl::InitializeLog() is called
I0000 00:00:1.2 3 port.cc:153] oneDNN custom operations are on.
W0000 00:00:1.2 3 gpu.cc:2] a library of the GPU is missing
2026-01-01 00:00:00.1: I tensorflow/core/a.cc:1] This TensorFlow binary is
To enable the following instructions: AVX2 FMA
""")
'''
START = """
import sys
from minc_tf.cli import startup
from minc_tf.cli.app import UNREAD

startup.quieten()
import tensorflow

print("a warning of the run", file=sys.stderr)
"""


@pytest.mark.parametrize("level, count", [(None, 2), ("2", 2), ("0", 6)])
def test_start_is_silent_but_for_warnings(tmp_path, level, count):
    (tmp_path / "tensorflow.py").write_text(SPEAKING)
    environment = dict(os.environ)
    environment.pop(startup.LEVEL, None)
    if level is not None:
        environment[startup.LEVEL] = level
    paths = [str(tmp_path), *sys.path]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    found = subprocess.run(
        [sys.executable, "-c", START],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = found.stderr.splitlines()
    assert len(lines) == count
    assert lines[-1] == "a warning of the run"
    assert any("library of the GPU is missing" in line for line in lines)


def test_a_gpu_that_fails_is_no_noise(monkeypatch):
    line = "E0000 1.2 3 a.cc:52] failed call to cuInit: ERROR (303)\n"
    monkeypatch.setattr(startup.glob, "glob", lambda _: [])
    assert startup.is_noise(line)
    monkeypatch.setattr(startup.glob, "glob", lambda _: ["/dev/nvidia0"])
    assert not startup.is_noise(line)
