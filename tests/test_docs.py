"""Every code block of the README and the docs runs."""

import pathlib
import re
import shlex
import sys
from unittest import mock

import pytest
from cli import conftest

from minc_tf.data import shapes

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

#: What makes an example short enough for a test, without changing its form.
SHORTER = {
    'load("shapes")': 'load("shapes", num_examples=64)',
    "filters=(32, 64, 128)": "filters=(4, 4, 128)",
    "batch_size=256)": "batch_size=16)",
    "steps_per_epoch=39, epochs=20": "steps_per_epoch=2, epochs=1",
}
SHORT_RUN = [
    "--config.epochs=1",
    "--config.batch_size=16",
    "--config.data.num_examples=64",
    "--config.monitor.every=0",
    "--config.diagnostics.every=0",
    "--config.report.num_examples=32",
    "--config.encoder.filters=(8,)",
    # Compiled by XLA for each run.
    "--config.views.jitter_p=0.0",
    "--config.views.grey_p=0.0",
]
#: Imported by blocks, whose functions test_own_callbacks calls.
NOT_INSTALLED = ("mlflow", "wandb")
#: Of the embedded data set, which the commands embed and evaluate whole.
FEWER = {"train": 1000, "test": 200}


def blocks(page, language):
    """The fenced blocks of a page in one language."""
    pattern = rf"^```{language}\n(.*?)^```"
    return re.findall(pattern, page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.slow  # The docs' models, trained, exported and evaluated.
def test_python_blocks_run(tmp_path, monkeypatch):
    """In one process and folder, in order: later ones use earlier exports."""
    monkeypatch.chdir(tmp_path)
    for package in NOT_INSTALLED:
        monkeypatch.setitem(sys.modules, package, mock.MagicMock())
    found = [block for page in PAGES for block in blocks(page, "python")]
    assert len(found) >= 3
    for block in found:
        for long, short in SHORTER.items():
            block = block.replace(long, short)
        exec(compile(block, "<block>", "exec"), {"__name__": "block"})
    assert (tmp_path / "savedmodels/shapes/1/saved_model.pb").exists()


@pytest.mark.slow  # Runs, exports to four formats and evaluations.
def test_shell_blocks_run(tmp_path, run_command, command, monkeypatch):
    """The console commands, as written, on a smaller run.

    In this process, but for those that need other devices.
    """
    monkeypatch.chdir(tmp_path)
    for split, count in FEWER.items():
        monkeypatch.setitem(shapes.SPLITS, split, count)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    commands = [
        shlex.split(line)
        for page in PAGES
        for block in blocks(page, "bash")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("minc-")
    ]
    assert len(commands) >= 5
    for name, *arguments in commands:
        if name == "minc-pretrain":
            arguments += SHORT_RUN
        if name == "minc-evaluate":
            arguments += ["--k=5"]
        if any("distribute" in argument for argument in arguments):
            result = run_command(name, *arguments, cwd=tmp_path)
            assert result.returncode == 0, result.stderr[-2000:]
        else:
            result = command(name.removeprefix("minc-"), *arguments)
            assert result.code == 0, result.err[-2000:]


def test_make_targets_exist():
    """The targets that the README names are in the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for block in blocks(page, "bash"):
            for target in re.findall(r"make (\w+)", block):
                assert f"\n{target}:" in makefile


def test_links_lead_somewhere():
    """Relative links of the pages name files that exist."""
    for page in PAGES:
        prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)#]+)\)", prose):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), (page.name, link)


command = conftest.command


@pytest.fixture
def run_command():
    """Runs a console command of this environment."""
    import subprocess

    folder = pathlib.Path(sys.executable).parent

    def run(name, *arguments, cwd):
        return subprocess.run(
            [str(folder / name), *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
