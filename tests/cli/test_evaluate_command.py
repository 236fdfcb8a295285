"""`minc-evaluate`: data, results on the screen and in files, mistakes."""

import functools
import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from minc_tf import data, evaluation
from minc_tf.export import export_savedmodel
from minc_tf.training import default_config, tensorflow_images
from minc_tf.training.config import to_json

from .test_errors import assert_refused

DIM = 6


class Ordering:
    """Stands in for MINC with the triangular second moment."""

    triangular = True
    second_moment = np.diag(np.linspace(1, 0.2, DIM)).astype("float32")

    def rotation(self):
        raise AssertionError("a triangular embedding needs no rotation")


def small_config():
    config = default_config()
    config.data.num_examples = 60
    config.data.test_split = "train"
    config.views.update(blur=False, strength=0.5)
    config.seed = 3
    return config


def make_model(scale=1.0):
    """A linear encoder of shrunken images."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(scale / 127.5, -1),
            keras.layers.AveragePooling2D(8),
            keras.layers.Flatten(),
            keras.layers.Dense(12),
        ]
    )
    projector = keras.Sequential([keras.Input((12,)), keras.layers.Dense(DIM)])
    return types.SimpleNamespace(
        encoder=encoder, projector=projector, objective=Ordering()
    )


@pytest.fixture(scope="module")
def config():
    return small_config()


@pytest.fixture(scope="module")
def savedmodel(config, tmp_path_factory):
    """An export that tells its recipe."""
    return export_savedmodel(
        make_model(),
        tmp_path_factory.mktemp("models") / "tiny",
        recipe=json.loads(to_json(config)),
    )


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    """An export that does not, and is not finite."""
    return export_savedmodel(
        make_model(np.nan), tmp_path_factory.mktemp("models") / "silent"
    )


@pytest.fixture
def workdir(config, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(to_json(config))
    return folder


@pytest.fixture(scope="module")
def other_data(tmp_path_factory):
    """Another labelled data set, of fewer classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 3
    noise = rng.integers(0, 60, (40, 32, 32, 3))
    images = (noise + 60 * labels[:, None, None, None]).astype("uint8")
    path = tmp_path_factory.mktemp("data") / "other.npz"
    np.savez(
        path,
        x_train=images[:25],
        y_train=labels[:25],
        x_test=images[25:],
        y_test=labels[25:],
    )
    return path


def test_results_of_a_run(command, savedmodel, workdir, config, tmp_path):
    file = tmp_path / "numbers" / "all.json"
    flags = [
        f"--savedmodel={savedmodel}",
        f"--workdir={workdir}",
        "--protocol=knn,ridge,retrieval",
        "--k=5,7",
        "--recall_at=2",
        f"--json={file}",
        "--quiet",
    ]
    result = command("evaluate", *flags, "--seeds=2")
    assert result.code == 0, result.err
    expected = evaluation.evaluate_savedmodel(
        savedmodel,
        *tensorflow_images.load_evaluation_sources(config),
        protocols=["knn", "ridge", "retrieval"],
        k=(5, 7),
        recall_at=2,
        seed=3,
        seeds=2,
    )
    assert json.loads(file.read_text()) == expected
    lines = {
        line.split(":")[0].strip(): line for line in result.out.split("\n")
    }
    for key in ("knn_accuracy_k5", "knn_accuracy_k7", "retrieval_map"):
        assert f"{key}: {expected[key]:.4g} " in lines[key]
        assert lines[key].endswith(f" {100 * expected[key]:.2f} %")
    half = 100 * expected["ridge_accuracy_ci95"]
    assert lines["ridge_accuracy"].endswith(f" % +- {half:.2f}")
    assert "batch" not in result.out  # no bars

    (entry,) = json.loads((workdir / "evaluation.json").read_text())
    assert entry["savedmodel"] == savedmodel
    assert entry["output"] == "features"
    assert entry["settings"] == {
        "protocols": ["knn", "ridge", "retrieval"],
        "k": [5, 7],
        "temperature": 0.07,
        "seeds": 2,
        "recall_at": [2],
        "seed": 3,
        "data": ["shapes/train", "shapes/train"],
    }
    assert entry["results"] | entry["choices"] == expected
    assert entry["date"][:2] == "20"

    assert command("evaluate", *flags, "--seeds=2").code == 0
    assert command("evaluate", *flags).code == 0
    entries = json.loads((workdir / "evaluation.json").read_text())
    assert [one["settings"]["seeds"] for one in entries] == [2, 1]


def test_data_of_the_export_and_curves(command, savedmodel, tmp_path):
    file, plot = tmp_path / "minc.json", tmp_path / "plots" / "dims.png"
    shared = [
        f"--savedmodel={savedmodel}",
        "--protocol=knn",
        "--k=5",
        "--dims=2,5",
    ]
    first = command("evaluate", *shared, "--output=embedding", f"--json={file}")
    assert first.code == 0, first.err
    assert "first coordinates in the order 'embedding'" in first.out
    curves = json.loads(file.read_text())["dims"]
    assert list(curves) == ["embedding", "pca"]
    assert [row["dim"] for row in curves["pca"]] == [2, 5]

    second = command(
        "evaluate",
        *shared,
        "--order_pairs=100",
        f"--plot={plot}",
        f"--compare={file}",
    )
    assert second.code == 0, second.err
    assert "first coordinates in the order 'pairs'" in second.out
    assert "2/2" in second.out  # batches of 60 pairs
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_protocols_that_train(command, savedmodel, monkeypatch):
    load, loads = tf.saved_model.load, []
    monkeypatch.setattr(
        tf.saved_model, "load", lambda path: loads.append(path) or load(path)
    )
    result = command(
        "evaluate",
        f"--savedmodel={savedmodel}",
        "--protocol=linear,semi,finetune",
        "--solver=sgd",
        "--fractions=0.5",
        "--epochs=1",
        "--batch_size=20",
        "--learning_rates=0.01,0.1",
        "--quiet",
    )
    assert result.code == 0, result.err
    assert loads == [savedmodel]
    for key in (
        "linear_sgd_accuracy",
        "linear_sgd_learning_rate",
        "semi_0.5_accuracy",
        "finetune_accuracy",
        "finetune_held_out_accuracy",
    ):
        assert f"{key}: " in result.out


def test_data_of_one_split_are_held_out(command, savedmodel, tmp_path):
    """As in a run: of what has no test split."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    noise = rng.integers(0, 60, (40, 32, 32, 3))
    images = (noise + 90 * labels[:, None, None, None]).astype("uint8")
    np.savez(tmp_path / "one.npz", images=images, labels=labels)
    recipe = tmp_path / "recipe.py"
    recipe.write_text(
        "from minc_tf.training import default_config\n\n\n"
        "def get_config():\n    return default_config()\n"
    )
    arguments = (
        f"--savedmodel={savedmodel}",
        f"--config={recipe}",
        "--config.data.name=npz",
        f"--config.data.data_dir={tmp_path / 'one.npz'}",
        "--protocol=knn",
        "--k=5",
    )
    for changed in ((), ("--config.data.holdout=0.5",)):
        result = command("evaluate", *arguments, *changed)
        assert result.code == 0, result.err
        assert "knn_accuracy_k5" in result.out
    result = command("evaluate", *arguments, "--config.data.holdout=0")
    assert result.code == 2 and "split" in result.err


def test_transfer_needs_no_recipe(
    command, savedmodel, other_data, tmp_path, monkeypatch
):
    strong = functools.partial(evaluation.LinearProbe, l2=(1.0, 0.1))
    monkeypatch.setattr(evaluation.protocols.transfer, "LinearProbe", strong)
    file = tmp_path / "transfer.json"
    result = command(
        "evaluate",
        f"--savedmodel={savedmodel}",
        "--protocol=transfer",
        "--transfer_data=npz",
        f"--transfer_data_dir={other_data}",
        "--k=5",
        f"--json={file}",
    )
    assert result.code == 0, result.err
    found = json.loads(file.read_text())
    train, test = (
        evaluation.extract(
            savedmodel, data.load_npz(other_data, name).examples(9)
        )
        for name in ("train", "test")
    )
    expected = evaluation.knn_accuracy(*train, *test, k=5)
    assert found["transfer_knn_accuracy_k5"] == expected
    assert found["transfer_linear_class_accuracy"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--k=61"], ["k must be between 1", "60 training", "received 61"]),
        (["--k=5,many"], ["--k must be a list of ints", "'many'"]),
        (["--dims=4,x"], ["--dims must be a list of ints", "'x'"]),
        (["--dims=8,4", "--k=5"], ["dims must be positive and ascend"]),
        (
            ["--dims=13", "--order=pca", "--k=5"],
            ["dims must be at most 12", "received 13"],
        ),
        (["--fractions=0.1"], ["--fractions needs --protocol=semi"]),
        (
            ["--protocol=semi", "--fractions=ten"],
            ["--fractions must be a list of floats", "'ten'"],
        ),
        (["--solver=sgd", "--protocol=knn"], ["--solver needs"]),
        (["--epochs=3"], ["--epochs needs", "--protocol=knn,linear"]),
        (
            ["--protocol=retrieval", "--recall_at=0"],
            ["recall_at must be between 1 and the 60", "received 0"],
        ),
        (["--json=."], ["--json must name a file", "'.'", "directory"]),
        (["--json=/dev/null/a/b"], ["--json must", "/dev/null/a/b"]),
        (["--log_file=/dev/null/a"], ["--log_file must", "/dev/null/a"]),
        (["--dims=4", "--plot=x.txt"], ["--plot must end in", "'x.txt'"]),
        (
            ["--dims=4", "--plot=x.png", "--compare=nofile.json"],
            ["--compare must name", "'nofile.json'", "No such file"],
        ),
        (["--order=pca"], ["--order needs --dims"]),
        (["--plot=x.png"], ["--plot needs --dims"]),
        (["--seeds=0"], ["--seeds=0"]),
        (["--output=logits"], ["one of embedding, features", "'logits'"]),
        (["--protocol=svm"], ["knn, linear, ridge, retrieval", "svm"]),
        (["--protocol=transfer"], ["--transfer_data=NAME"]),
        (
            ["--transfer_data=npz"],
            ["--transfer_data needs --protocol=transfer"],
        ),
        (
            ["--protocol=transfer", "--transfer_data=nothing"],
            ["nothing"],
        ),
    ],
)
def test_mistakes(command, savedmodel, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    result = command("evaluate", f"--savedmodel={savedmodel}", *arguments)
    assert_refused(result, *parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["without_labels", "one_class"])
def test_labels_that_are_missing(command, savedmodel, tmp_path, name):
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.integers(0, 255, (9, 32, 32, 3), dtype="uint8")}
    expected = ["images/train has no labels"]
    if name == "one_class":
        arrays["y_train"] = np.full(9, 1)
        expected = ["at least two classes"]
    np.savez(tmp_path / "images.npz", **arrays)
    config = small_config()
    config.data.update(name="npz", data_dir=str(tmp_path / "images.npz"))
    config.data.num_examples = 9
    (tmp_path / "config.json").write_text(to_json(config))
    result = command(
        "evaluate", f"--savedmodel={savedmodel}", f"--workdir={tmp_path}"
    )
    assert_refused(result, *expected)


def test_exports_that_cannot_be_evaluated(command, silent, workdir):
    flags = [f"--savedmodel={silent}", "--k=5", "--quiet"]
    assert_refused(
        command("evaluate", *flags),
        "--config=RECIPE or --workdir=RUN",
        "holds no recipe",
    )
    assert_refused(
        command("evaluate", *flags, f"--workdir={workdir}"),
        "features must be finite",
        "60 of 60 samples",
    )
    (workdir / "evaluation.json").write_text("{}")
    assert_refused(
        command("evaluate", *flags, f"--workdir={workdir}"),
        "evaluation.json must hold a list",
    )
    assert (workdir / "evaluation.json").read_text() == "{}"
