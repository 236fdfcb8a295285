"""`minc-evaluate --vectors`: tables of vectors instead of an encoder."""

import json

import pytest
from evaluation.test_linear import samples
from evaluation.vector_files import METADATA, write_part, write_parts

from minc_tf import evaluation
from minc_tf.training import default_config
from minc_tf.training.config import to_json

from .test_errors import assert_refused


@pytest.fixture
def tables(tmp_path):
    """Training vectors in two parts, and test vectors in one table."""
    write_parts(tmp_path / "train", *samples(), (100, 200))
    metadata = {**METADATA, "images": "a/test"}
    write_part(tmp_path / "test.parquet", *samples(100, 1), metadata=metadata)
    return tmp_path / "train", tmp_path / "test.parquet"


def given(tables):
    return [f"--vectors={tables[0]}", f"--test_vectors={tables[1]}"]


def test_results_and_record_of_a_run(command, tables, tmp_path):
    workdir, file = tmp_path / "run", tmp_path / "all.json"
    workdir.mkdir()
    config = default_config()
    config.seed = 3
    (workdir / "config.json").write_text(to_json(config))
    result = command(
        "evaluate",
        *given(tables),
        "--protocol=knn,ridge,linear",
        "--k=5,7",
        "--seeds=2",
        f"--json={file}",
        f"--workdir={workdir}",
    )
    assert result.code == 0, result.err
    expected = evaluation.evaluate_features(
        samples(),
        samples(100, 1),
        protocols=["knn", "ridge", "linear"],
        k=(5, 7),
        seed=3,
        seeds=2,
    )
    found = json.loads(file.read_text())
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-6), key
    assert f"{100 * found['ridge_accuracy']:.2f} % +- " in result.out
    (entry,) = json.loads((workdir / "evaluation.json").read_text())
    assert (entry["savedmodel"], entry["output"]) == ("a", "features")
    assert entry["settings"] == {
        "protocols": ["knn", "ridge", "linear"],
        "k": [5, 7],
        "temperature": 0.07,
        "seeds": 2,
        "seed": 3,
        "data": [None, "a/test"],
        "vectors": [str(table) for table in tables],
    }
    assert entry["results"] | entry["choices"] == found


def test_a_glob_without_a_run(command, tables):
    result = command(
        "evaluate",
        f"--vectors={tables[0]}/part-*",
        f"--test_vectors={tables[1]}",
        "--protocol=knn",
        "--k=5",
    )
    assert result.code == 0, result.err
    expected = evaluation.knn_accuracy(*samples(), *samples(100, 1), k=5)
    assert result.out.startswith(f"knn_accuracy_k5: {expected:.4g} ")


def test_mistakes(command, tables, tmp_path):
    vectors = given(tables)
    for arguments, parts in (
        (vectors[:1], ["--vectors needs --test_vectors=TABLE"]),
        (["--savedmodel=x", vectors[1]], ["--test_vectors needs --vectors"]),
        ([*vectors, "--savedmodel=x"], ["one of the two"]),
        ([], ["--savedmodel=NAME or --vectors=TABLE"]),
        ([*vectors, "--dims=2"], ["--dims needs --savedmodel"]),
        ([*vectors, "--solver=lbfgs"], ["--solver needs --savedmodel"]),
        ([*vectors, "--output=features"], ["--output needs --savedmodel"]),
        (
            [*vectors, "--config=minc_tf:shapes:minc"],
            ["--config needs --savedmodel"],
        ),
        ([*vectors, "--protocol=knn,semi"], ["knn, linear, ridge", "semi"]),
        ([*vectors, "--protocol=knn", "--k=301"], ["the 300", "301"]),
        (["--vectors=no.parquet", vectors[1]], ["exists", "'no.parquet'"]),
    ):
        assert_refused(command("evaluate", *arguments), *parts)
