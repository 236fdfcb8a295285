"""Every code block of the README and the docs runs."""

import dataclasses
import functools
import itertools
import pathlib
import re
import shlex
import shutil
import sys
from unittest import mock

import keras
import pytest
from cli import conftest

from minc_tf.augment import presets
from minc_tf.data import shapes

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

#: What makes an example short enough for a test, without changing its form.
SHORTER = {
    'load("shapes")': 'load("shapes", num_examples=64)',
    "filters=(32, 64, 128)": "filters=(8,)",
    "mlp(128,": "mlp(8,",
    "filters=(8, 16)": "filters=(16,)",
    "batch_size=256)": "batch_size=16)",
    "small_size=48, count=4": "small_size=48, count=1",
    "steps_per_epoch=39, epochs=20": "steps_per_epoch=2, epochs=1",
}
#: Compiled by XLA for each pipeline.
WITHOUT_JITTER = ["--config.views.jitter_p=0.0", "--config.views.grey_p=0.0"]
SHORT_RUN = [
    "--config.epochs=1",
    "--config.batch_size=16",
    "--config.data.num_examples=64",
    "--config.monitor.every=0",
    "--config.diagnostics.every=0",
    "--config.diagnostics.alarm=off",
    "--config.report.num_examples=32",
    "--config.encoder.filters=(8,)",
    *WITHOUT_JITTER,
]
#: Imported by blocks, whose functions test_own_callbacks calls.
NOT_INSTALLED = ("mlflow", "wandb")
#: Pages that have tests of their own.
ALONE = ["extending.md", "photos.md"]
#: Photos of another size, and no download.
SMALLER = {
    '"weights": "imagenet"': '"weights": None',
    'weights="imagenet"': "weights=None",
    "(96, 96, 3)": "(32, 32, 3)",
    "image_size=96": "image_size=32",
    '"size": 96': '"size": 32, "jitter_p": 0.0, "grey_p": 0.0',
    "    config.epochs = 30\n": "    config.epochs = 1\n"
    "    config.diagnostics.every = 0\n"
    "    config.diagnostics.alarm = 'off'\n"
    "    config.report.num_examples = 32\n",
}
#: Of the embedded data set, which the commands embed and evaluate whole.
FEWER = {"train": 250, "test": 100}


def blocks(page, language):
    """The fenced blocks of a page in one language."""
    pattern = rf"^```{language}\n(.*?)^```"
    return re.findall(pattern, page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page):
    """The console commands of a page, each a list of words."""
    found = map(commands_of, blocks(page, "bash"))
    return list(itertools.chain(*found))


def commands_of(block):
    """The console commands of a block, each of one epoch."""
    block = re.sub(r"--epochs \d+", "--epochs 1", block)
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("minc-")]


def shortened(name, *arguments):
    """A command without its prefix, and what makes it short."""
    short = {
        "minc-pretrain": SHORT_RUN,
        "minc-inspect": WITHOUT_JITTER,
        "minc-evaluate": ["--k=5"],
    }
    return name.removeprefix("minc-"), *arguments, *short.get(name, [])


def crops_and_flips(preset):
    """A preset without what XLA compiles anew for each pipeline."""

    @functools.wraps(preset)
    def views(*args, **kwargs):
        return tuple(
            dataclasses.replace(
                config, jitter_p=0.0, grey_p=0.0, blur_p=0.0, solarize_p=0.0
            )
            for config in preset(*args, **kwargs)
        )

    return views


@pytest.mark.slow  # The docs' models, trained, exported and evaluated.
def test_python_blocks_run(tmp_path, monkeypatch):
    """In one process and folder, in order: later ones use earlier exports."""
    monkeypatch.chdir(tmp_path)
    for package in NOT_INSTALLED:
        monkeypatch.setitem(sys.modules, package, mock.MagicMock())
    for name in ("simclr", "byol"):
        short = crops_and_flips(getattr(presets, name))
        monkeypatch.setattr(presets, name, short)
    pages = [page for page in PAGES if page.name not in ALONE]
    found = [block for page in pages for block in blocks(page, "python")]
    assert len(found) >= 3
    for block in found:
        for long, short in SHORTER.items():
            block = block.replace(long, short)
        exec(compile(block, "<block>", "exec"), {"__name__": "block"})
    assert (tmp_path / "savedmodels/shapes/1/saved_model.pb").exists()


@pytest.mark.slow  # Two runs, exports to four formats and evaluations.
def test_shell_blocks_run(tmp_path, command, monkeypatch):
    """The console commands, as written, on smaller runs.

    In this process. Those of docs/extending.md come first; the other pages
    have one of its runs under the name that the README gives to its own, whose
    commands test_distribution runs.
    """
    monkeypatch.chdir(tmp_path)
    # As it is for a command; Python itself has the current folder there.
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    for split, count in FEWER.items():
        monkeypatch.setitem(shapes.SPLITS, split, count)
    run_all(command, a_method_of_ones_own(tmp_path))
    comparison = (tmp_path / "mine/comparison.html").read_text()
    assert "my_losses:Uniform" in comparison
    shutil.copytree("mine/minc", "runs/shapes")
    shutil.copytree("mine/uniform", "runs/two")
    shutil.copytree("savedmodels/mine-minc", "savedmodels/shapes")
    pages = [page for page in PAGES if page.name not in ALONE]
    assert pages.pop(0).name == "README.md"
    found = list(itertools.chain(*map(commands, pages)))
    assert len(found) >= 5
    run_all(command, found)


def run_all(command, found):
    """Run commands, short."""
    for words in found:
        result = command(*shortened(*words))
        assert result.code == 0, (words, result.err[-2000:])


def a_method_of_ones_own(folder):
    """Run docs/extending.md in a folder, and return its commands.

    In test_own_parts such a run is killed, too.
    """
    page = ROOT / "docs/extending.md"
    code = []
    for block in blocks(page, "python"):
        if block.startswith("# "):  # A file, by its name.
            (folder / block[2:].partition("\n")[0]).write_text(block)
        else:
            code.append(compile(block, "<block>", "exec"))
    sys.path.insert(0, str(folder))
    for block in code:
        exec(block, {"__name__": "block"})
    sys.path.remove(str(folder))
    return commands(page)


@functools.wraps(keras.applications.MobileNetV3Small)
def few_layers(input_shape, **kwargs):
    """Takes the place of a network whose 150 layers take long to trace.

    A block of docs/encoders.md makes that network itself.
    """
    images = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, strides=2)(images)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


@pytest.mark.slow  # A run, exports, embeddings and evaluations.
def test_a_folder_of_photos(tmp_path, command, monkeypatch, capsys):
    """docs/photos.md, in the order of the page."""
    import tensorflow as tf

    monkeypatch.setattr(keras.applications, "MobileNetV3Small", few_layers)
    monkeypatch.chdir(tmp_path)
    images, labels = shapes.render_shapes(60, "train")
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        photo = tf.io.encode_jpeg(image[: 24 + number % 8])
        tf.io.write_file(f"photos/{number % 3}/{number}.jpg", photo)
        folder = f"labelled/{label % 2}"
        tf.io.write_file(f"{folder}/{number}.jpg", photo)
    page = ROOT / "docs/photos.md"
    text = page.read_text()
    pattern = r"^```(python|bash)\n(.*?)^```"
    for language, block in re.findall(pattern, text, re.M | re.S):
        for long, short in SMALLER.items():
            block = block.replace(long, short)
        if language == "python" and block.startswith("# "):
            (tmp_path / block[2:].partition("\n")[0]).write_text(block)
        elif language == "python":
            exec(compile(block, "<block>", "exec"), {"__name__": "block"})
        for name, *arguments in (
            commands_of(block) if language == "bash" else ()
        ):
            result = command(name.removeprefix("minc-"), *arguments)
            assert result.code == 0, result.err[-2000:]
    answers = capsys.readouterr().out.splitlines()
    assert len(answers) == 60 and answers[0].endswith(("0", "1"))
    assert (tmp_path / "runs/photos/report.html").exists()


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
