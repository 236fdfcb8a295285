"""Files that are replaced: whole, or as they were."""

import os

import pytest

from minc_tf._files import replacing


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("before")
    with replacing(path) as part:
        part.write_text("after")
        # Libraries choose a format by the suffix.
        assert part.suffix == ".keras"
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_another_folder_to_write_in(tmp_path):
    folder = tmp_path / "partial"
    folder.mkdir()
    with replacing(tmp_path / "a.csv", folder) as part:
        part.write_text("x")
        assert part.parent == folder
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "partial"]


def test_a_name_without_a_suffix(tmp_path):
    with replacing(f"{tmp_path}/LICENSE") as part:
        part.write_bytes(b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["LICENSE"]


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt()])
@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_an_error_leaves_the_file_of_before(
    tmp_path, monkeypatch, moment, error
):
    def fail(*args):
        raise error

    path = tmp_path / "a.json"
    path.write_text("before")
    if moment != "write":
        monkeypatch.setattr(os, moment, fail)
    with pytest.raises(type(error)), replacing(path) as part:
        part.write_text("aft")
        if moment == "write":
            fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_contents_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    """Else a power cut could leave an empty file under the name."""
    done = []

    def note(name):
        function = getattr(os, name)

        def noted(*args):
            if name == "fsync":
                where = os.readlink(f"/proc/self/fd/{args[0]}")
                done.append(("fsync", os.path.basename(where)))
            else:
                done.append((name, os.path.basename(args[1])))
            return function(*args)

        monkeypatch.setattr(os, name, noted)

    note("fsync")
    note("replace")
    with replacing(tmp_path / "a.npz") as part:
        part.write_bytes(b"x")
    assert done == [
        ("fsync", ".a.part.npz"),
        ("replace", "a.npz"),
        ("fsync", tmp_path.name),
    ]
