"""A folder holds one run."""

import json

import pytest

from minc_tf.training import read_config, run, validate
from minc_tf.training.workdir import Workdir

from .conftest import tiny_config


@pytest.fixture
def folder(tmp_path):
    """A folder that a run has claimed."""
    path = tmp_path / "run"
    Workdir(path).claim(tiny_config())
    return path


def test_claim_is_made_once(folder):
    before = (folder / "config.json").read_bytes()
    Workdir(folder).claim(tiny_config())
    assert (folder / "config.json").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert read_config(folder).objective.dim == 8


def test_other_settings_are_named(folder):
    changed = tiny_config(epochs=5, optimizer={"learning_rate": 0.5})
    changed.encoder = {"name": "small_resnet", "filters": (4, 16)}
    message = (
        r"encoder\.filters: \[8\] -> \[4, 16\], epochs: 3 -> 5, "
        r"optimizer\.learning_rate: 0\.001 -> 0\.5\).*--overwrite"
    )
    with pytest.raises(ValueError, match=message):
        Workdir(folder).claim(changed)
    assert read_config(folder).epochs == 3


def test_many_changes_are_cut(folder):
    changed = tiny_config(epochs=5, seed=1, batch_size=8, precision="float16")
    with pytest.raises(ValueError, match=r"-> \S+, \.\.\.\)"):
        Workdir(folder).check(changed)


def test_added_and_removed_settings_are_named(folder):
    changed = tiny_config()
    changed.objective = {"name": "minc", "dim": 8, "rate": 0.1}
    with pytest.raises(ValueError) as caught:
        Workdir(folder).check(changed)
    assert "objective.mu: 10.0 -> None" in str(caught.value)
    assert "objective.rate: None -> 0.1" in str(caught.value)


@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_of_something_else_is_left_alone(tmp_path, overwrite):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "holiday.png").write_bytes(b"precious")
    with pytest.raises(ValueError, match="not empty and holds no run"):
        run(tiny_config(), tmp_path, overwrite=overwrite)
    assert (pictures / "holiday.png").read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_file_in_the_place_of_the_folder(tmp_path):
    path = tmp_path / "run"
    path.write_text("a file")
    for workdir in (path, path / "inside"):
        with pytest.raises(ValueError, match=r"run' is a file\."):
            run(tiny_config(), workdir)
    assert path.read_text() == "a file"


def test_overwriting_leaves_nothing_of_the_run_before(folder):
    place = Workdir(folder)
    (folder / "notes.md").write_text("mine")
    for path in set(vars(place).values()) - {folder, place.config}:
        if path.suffix:
            path.write_text("of the run before")
        else:
            (path / "inside").mkdir(parents=True)
    place.claim(tiny_config(seed=7), overwrite=True)
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "notes.md"}
    assert read_config(folder).seed == 7


def test_empty_folder_is_taken(tmp_path):
    Workdir(tmp_path).claim(tiny_config())
    assert read_config(tmp_path).epochs == 3


def test_read_config_needs_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        read_config(tmp_path / "nothing")


def test_settings_that_did_not_exist_are_those_by_default(folder):
    """A run of an older version goes on, and is exported."""
    place = Workdir(folder)
    saved = json.loads(place.config.read_text())
    del saved["predictor"], saved["target"], saved["data"]["classes"]
    del saved["optimizer"]["predictor_rate"], saved["init"]
    place.config.write_text(json.dumps(saved))
    place.check(tiny_config())
    validate(place.read_config())
    for key, value in (("target", "momentum"), 0.9), (("init", "from"), "x"):
        changed = tiny_config()
        changed[key[0]][key[1]] = value
        with pytest.raises(ValueError, match="a run of other settings"):
            place.check(changed)
