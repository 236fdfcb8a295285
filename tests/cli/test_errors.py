"""What the commands answer to mistakes: one line, an exit code."""

import pathlib

import pytest

RECIPE = pathlib.Path(__file__).parents[2] / "recipes" / "shapes" / "minc.py"


def assert_refused(result, *parts):
    assert result.code == 2
    lines = result.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    for part in parts:
        assert str(part) in lines[0]
    # Neither the whole configuration nor a traceback on that line.
    assert len(lines[0]) < 900
    assert "Traceback" not in lines[0]


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        (
            "batchsize=3",
            ["config.batchsize is not a setting", "mean config.batch_size?"],
        ),
        ("data.nme=x", ["config.data.nme", "mean config.data.name?"]),
        ("views.bluer=1", ["config.views.bluer", "mean config.views.blur?"]),
        ("encoder.filter=8", ["mean config.encoder.filters?"]),
        ("objective.rat=0.1", ["mean config.objective.rate?"]),
        ("dta.name=x", ['Did you mean "data"']),
        ("objective.name=mink", ["did you mean 'minc'?"]),
        ("batch_size=many", ["--config.batch_size=many", "int", "'many'"]),
        ("batch_size=3.5", ["--config.batch_size=3.5", "int", "'3.5'"]),
        ("views.hue=none", ["--config.views.hue=none", "float", "'none'"]),
        ("optimizer=3", ["--config.optimizer=3", "is not a dict"]),
        ("micro_batches=3", ["config.micro_batches=3 must divide"]),
        ("objective.rate=2.5", ["rate", "2.5"]),
        ("data.data_dir=/nowhere", ["data_dir", "'/nowhere'"]),
        ("monitor.k=5000", ["config.monitor.k=5000"]),
    ],
)
def test_wrong_override(command, tmp_path, override, parts):
    workdir = tmp_path / "run"
    result = command(
        "pretrain",
        f"--config={RECIPE}",
        f"--workdir={workdir}",
        "--config.data.num_examples=256",
        f"--config.{override}",
    )
    assert_refused(result, *parts)
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([f"--config={RECIPE}"], ["--workdir"]),
        (["--workdir=x"], ["--config"]),
        (["--config=nope.py", "--workdir=x"], ["'nope.py' does not exist"]),
        (
            ["--config=cifr10", "--workdir=x"],
            ["does not exist; did you mean 'minc_tf:cifar10'?"],
        ),
        (
            ["--config=minc_tf:nope", "--workdir=x"],
            ["none of the library's, minc_tf:cifar10, minc_tf:cifar100"],
        ),
        (
            [f"--config={RECIPE}:byol", "--workdir=x"],
            ["takes no argument; received 'byol'"],
        ),
        (
            ["--config=nope.py", "--workdir=x", "--config.epochs=1"],
            ["'nope.py' does not exist"],
        ),
        (
            ["--confg=nope.py", "--workdir=x"],
            ["'confg'", "Did you mean: config"],
        ),
        (
            [f"--config={RECIPE}", "--workdir=x", "epochs=3"],
            ["unexpected argument 'epochs=3'"],
        ),
    ],
)
def test_wrong_pretrain_flags(command, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    assert_refused(command("pretrain", *arguments), *parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x = 3\n", ["defines no get_config()"]),
        ("def get_config(:\n", ["invalid syntax", "line 1"]),
        (
            "from minc_tf.training import default_config\n"
            "def get_config():\n"
            "    config = default_config()\n"
            "    config.batchsize = 3\n",
            ['Key "batchsize"', 'Did you mean "batch_size"'],
        ),
    ],
)
def test_wrong_recipe(command, tmp_path, text, parts):
    recipe = tmp_path / "recipe.py"
    recipe.write_text(text)
    result = command("pretrain", f"--config={recipe}", "--workdir=x")
    assert_refused(result, recipe, *parts)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden"])
def test_wrong_name_of_an_export(command, tmp_path, name):
    result = command("export", f"--workdir={tmp_path}", f"--name={name}")
    assert_refused(result, f"--name={name!r}", "letters, digits")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--name=x"], ["--workdir"]),
        (["--workdir=nowhere"], ["--name"]),
        (["--workdir=nowhere", "--name=x"], ["'nowhere' holds no run"]),
        (
            ["--workdir=nowhere", "--name=x", "--version=0"],
            ["--version=0", "positive"],
        ),
    ],
)
def test_wrong_export_flags(command, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    assert_refused(command("export", *arguments), *parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--config=c"], ["'c' does not exist"]),
        ([f"--config={RECIPE}"], ["--savedmodel"]),
        (["--savedmodel=x"], ["'x'", "not exist"]),
        (
            ["--savedmodel=x", "--workdir=y", f"--config={RECIPE}"],
            ["--config=RECIPE or --workdir=RUN"],
        ),
        (["--savedmodel=x", "--workdir=y"], ["'y' holds no run"]),
        (["--savedmodel=x", f"--config={RECIPE}"], ["'x'", "not exist"]),
        (
            ["--savedmodel=x", f"--config={RECIPE}", "--k=20,many"],
            ["--k must be a list of ints", "'many'"],
        ),
        (
            ["--savedmodel=x", f"--config={RECIPE}", "--solver=adam"],
            ["--solver=adam", "lbfgs|sgd|lars"],
        ),
        (
            ["--savedmodel=x", f"--config={RECIPE}", "--config.batchsize=3"],
            ["config.batchsize", "mean config.batch_size?"],
        ),
    ],
)
def test_wrong_evaluate_flags(command, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    assert_refused(command("evaluate", *arguments), *parts)


def test_debug_raises_with_the_traceback(command, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        command("export", f"--workdir={tmp_path}", "--name=x", "--debug")


def test_interrupt_is_one_line(command, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("minc_tf.training.run", interrupted)
    result = command(
        "pretrain", f"--config={RECIPE}", f"--workdir={tmp_path / 'run'}"
    )
    assert result.code == 130
    assert result.err == "interrupted\n"


def test_what_fails_is_no_mistake_of_the_user(command, tmp_path, monkeypatch):
    def diverge(*args, **kwargs):
        raise FloatingPointError("loss is nan")

    monkeypatch.setattr("minc_tf.training.run", diverge)
    result = command(
        "pretrain", f"--config={RECIPE}", f"--workdir={tmp_path / 'run'}"
    )
    assert result.code == 1
    assert result.err == "error: loss is nan\n"
