"""Version folders: numbering, refusal, atomicity."""

import os
import stat
import types

import keras
import pytest

from minc_tf.export import export_savedmodel, find_version, latest_version
from minc_tf.export.versions import write_version


def touch(folder):
    with open(os.path.join(folder, "saved_model.pb"), "w") as file:
        file.write("x")


def test_numbering(tmp_path):
    assert latest_version(tmp_path / "missing") is None
    assert latest_version(tmp_path) is None
    assert write_version(tmp_path, touch) == str(tmp_path / "1")
    assert write_version(tmp_path, touch, version=7) == str(tmp_path / "7")
    assert write_version(tmp_path, touch) == str(tmp_path / "8")
    assert write_version(tmp_path, touch, version=3) == str(tmp_path / "3")
    for name in ("09", "tmp", "-10", "0", "²", ".incomplete-12-ab"):
        (tmp_path / name).mkdir()
    assert latest_version(tmp_path) == 8
    assert find_version(tmp_path) == str(tmp_path / "8")
    assert find_version(tmp_path / "3") == str(tmp_path / "3")


@pytest.mark.parametrize("make", ["mkdir", "touch"])
def test_an_existing_version_is_refused(tmp_path, make):
    getattr(tmp_path / "2", make)()
    with pytest.raises(ValueError, match=r"received 2, .*next free one is 3"):
        write_version(tmp_path, touch, version=2)
    assert [p.name for p in tmp_path.iterdir()] == ["2"]


@pytest.mark.parametrize("version", ["1", 1.0, True])
def test_version_of_a_wrong_type(tmp_path, version):
    with pytest.raises(TypeError, match=f"int >= 1.*{version!r}"):
        write_version(tmp_path, touch, version=version)


@pytest.mark.parametrize("version", [0, -3])
def test_version_below_one(tmp_path, version):
    with pytest.raises(ValueError, match=f"int >= 1; received {version}"):
        write_version(tmp_path, touch, version=version)


def test_nothing_is_visible_before_it_is_complete(tmp_path):
    seen = []

    def write(folder):
        touch(folder)
        seen.append(latest_version(tmp_path))
        # A sibling on the same file system, and no number to a server.
        assert os.path.dirname(folder) == str(tmp_path)
        assert not os.path.basename(folder)[0].isdigit()

    write_version(tmp_path, write)
    assert seen == [None]
    assert latest_version(tmp_path) == 1


def test_a_failed_write_leaves_nothing(tmp_path):
    def write(folder):
        touch(folder)
        raise KeyboardInterrupt

    write_version(tmp_path, touch)
    with pytest.raises(KeyboardInterrupt):
        write_version(tmp_path, write)
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    encoder = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()])
    projector = keras.Sequential([keras.Input((48,)), keras.layers.Dense(2)])
    model = types.SimpleNamespace(
        encoder=encoder, projector=projector, objective=object()
    )

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("json.dump", full)  # after the graph and weights
    with pytest.raises(OSError, match="No space left"):
        export_savedmodel(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_export_takes_the_number_meanwhile(tmp_path):
    def write(folder):
        touch(folder)
        if latest_version(tmp_path) is None:
            write_version(tmp_path, touch, version=1)

    assert write_version(tmp_path, write) == str(tmp_path / "2")

    def clash(folder):
        (tmp_path / "5").mkdir()

    with pytest.raises(ValueError, match="received 5, which exists"):
        write_version(tmp_path, clash, version=5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2", "5"]


def test_permissions_are_those_of_an_ordinary_folder(tmp_path):
    (tmp_path / "plain").mkdir()
    path = write_version(tmp_path, touch)
    mode = stat.S_IMODE(os.stat(path).st_mode)
    assert mode == stat.S_IMODE(os.stat(tmp_path / "plain").st_mode)


def test_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=r"folder that can be written"):
            write_version(path, touch)


def test_find_version_says_what_it_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        find_version(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match=r"neither saved_model\.pb nor"):
        find_version(tmp_path)
    (tmp_path / "4").mkdir()
    with pytest.raises(FileNotFoundError, match="has version 4, which has no"):
        find_version(tmp_path)
