"""`load` of a path: a folder, a file, or one line that says what is right."""

import numpy as np
import pytest
from PIL import Image

import minc_tf


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of two classes beside the working folder, and one inside."""
    rng = np.random.default_rng(0)
    for root in ("photos", "here/photos"):
        for name in ("a", "b"):
            (tmp_path / root / name).mkdir(parents=True)
            pixels = rng.integers(0, 256, (8, 8, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / root / name / "0.png")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_a_path_that_exists_is_a_folder(photos):
    expected = minc_tf.data.load("folder", data_dir=photos / "photos")
    for name in ("../photos", photos / "photos", str(photos / "photos")):
        source = minc_tf.data.load(name)
        assert len(source) == len(expected) == 2
        assert source.class_names == expected.class_names
    assert len(minc_tf.data.load("photos")) == 2


def test_a_file_of_arrays(photos):
    images = np.zeros((3, 8, 8, 3), "uint8")
    np.savez("arrays.npz", images=images)
    assert len(minc_tf.data.load("arrays.npz")) == 3


def test_paths_that_lead_nowhere(photos):
    with pytest.raises(FileNotFoundError, match=r"'\.\./nothing' does not"):
        minc_tf.data.load("../nothing")
    (photos / "here/notes.txt").write_text("no images")
    with pytest.raises(FileNotFoundError, match=r"notes\.txt' is no folder"):
        minc_tf.data.load("notes.txt")


def test_names_stay_names(photos):
    """Also beside a folder of that name."""
    (photos / "here/shapes").mkdir()
    assert minc_tf.data.load("shapes", num_examples=4).name == "shapes"
