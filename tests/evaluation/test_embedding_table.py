"""Tables in parts: the process may end at any point, and nothing is lost."""

import os
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from minc_tf.evaluation.embedding.table import (
    PartialTable,
    bad_file,
    check_out,
    table_schema,
)

#: What is made: name, label and vector of each, or what is wrong with it.
IMAGES = [(f"{i}.jpg", i % 3, np.full(2, i, np.float32)) for i in range(9)]
BAD = [("3.jpg", "empty"), ("6.jpg", "damaged"), ("7.jpg", "damaged")]
JOB = {"output": "features"}


class KilledError(BaseException):
    """Stands in for the end of the process."""


def open_table(out, job=None, overwrite=False):
    schema = table_schema(2, True, {"output": "features"})
    return PartialTable(out, schema, job or JOB, overwrite)


def make(out, size=2, **options):
    """Make the table in parts of a size, from where it is on."""
    parts = open_table(out, **options)
    while parts.stop < len(IMAGES):
        add(parts, size)
    parts.finish()
    return parts


def add(parts, size):
    wrong = dict(BAD)
    some = IMAGES[parts.stop : parts.stop + size]
    good = [image for image in some if image[0] not in wrong]
    parts.add(
        [name for name, _, _ in good],
        np.array([label for _, label, _ in good], int),
        np.array([vector for _, _, vector in good]).reshape(-1, 2),
        [(name, wrong[name]) for name, _, _ in some if name in wrong],
    )


@pytest.fixture
def out(tmp_path):
    return tmp_path / "made" / "vectors.parquet"


@pytest.fixture
def whole(tmp_path):
    """The table, made without an interruption."""
    path = tmp_path / "whole.parquet"
    make(path)
    return path.read_bytes()


def test_the_parts_make_the_table(out):
    parts = make(out)
    assert (parts.rows, parts.stop, parts.bad) == (6, 9, BAD)
    table = pq.read_table(out)
    rows = [row for row in IMAGES if row[0] not in dict(BAD)]
    names, labels, vectors = zip(*rows, strict=True)
    assert table["path"].to_pylist() == list(names)
    assert table["label"].to_pylist() == list(labels)
    assert table["vector"].to_pylist() == [list(v) for v in vectors]
    assert table.schema.metadata == {b"output": b"features"}
    lines = ["path,reason", *(",".join(line) for line in BAD), ""]
    assert bad_file(out).read_text() == "\n".join(lines)
    assert sorted(os.listdir(out.parent)) == [
        "vectors.bad.csv",
        "vectors.parquet",
    ]


@pytest.mark.parametrize(
    "place", ["os.fsync", "os.replace", "os.unlink", "os.mkdir", "os.rmdir"]
)
def test_ended_at_any_point(out, whole, monkeypatch, place):
    """Before each of the steps that change what is on the disk, in turn."""
    original, left = getattr(os, place[3:]), 0

    def ending(*arguments, **options):
        nonlocal left
        left -= 1
        if left == 0:
            raise KilledError
        return original(*arguments, **options)

    monkeypatch.setattr(os, place[3:], ending)
    for point in range(1, 50):
        left = point
        try:
            make(out)
        except KilledError:
            left = 0
            if not out.exists():
                make(out)
                assert len(os.listdir(out.parent)) == 2
        assert out.read_bytes() == whole
        assert bad_file(out).read_text().count("\n") == 1 + len(BAD)
        if left > 0:
            break
        shutil.rmtree(out.parent)
    assert 1 < point < 20
    assert len(os.listdir(out.parent)) == 2


def test_no_more_than_a_part_is_lost(out, whole, monkeypatch):
    parts = open_table(out)
    add(parts, 2)
    add(parts, 2)
    monkeypatch.setattr(os, "replace", None)
    with pytest.raises(TypeError):
        add(parts, 2)
    monkeypatch.undo()
    assert open_table(out).stop == 4
    make(out)
    assert out.read_bytes() == whole


def test_what_a_finished_job_left_is_not_used(out, whole):
    """The process ended while it removed the parts of an older table."""
    parts = open_table(out)
    add(parts, 4)
    (out.with_name(f"{out.name}.partial") / "job.json").unlink()
    assert open_table(out).stop == 0
    make(out)
    assert out.read_bytes() == whole


def test_damaged_parts_are_made_again(out):
    """In another size, so that the parts behind do not follow."""
    parts = open_table(out)
    for _ in range(4):
        add(parts, 2)
    first = out.with_name(f"{out.name}.partial") / "part-00000.parquet"
    first.write_bytes(first.read_bytes()[:-20])
    assert open_table(out).stop == 0
    add(open_table(out), 3)
    assert open_table(out).stop == 3
    make(out, size=4)
    assert pq.read_table(out)["vector"].to_pylist() == [
        [i, i] for i in (0, 1, 2, 4, 5, 8)
    ]


def test_parts_of_another_job(out):
    add(open_table(out), 4)
    with pytest.raises(ValueError, match="output then 'features', now 'z'"):
        open_table(out, {"output": "z"})
    assert open_table(out, overwrite=True).stop == 4
    assert open_table(out, {"output": "z"}, overwrite=True).stop == 0


def test_an_older_list_of_bad_images_goes(out):
    out.parent.mkdir()
    bad_file(out).write_text("path,reason\n")
    parts = open_table(out)
    parts.add(["a"], np.zeros(1, int), np.zeros((1, 2)), [])
    parts.finish()
    assert not bad_file(out).exists()


def test_places_that_will_not_do(tmp_path):
    (tmp_path / "folder.parquet").mkdir()
    (tmp_path / "file.parquet").touch()
    with pytest.raises(ValueError, match=r"folder.parquet', which is a folder"):
        check_out(tmp_path / "folder.parquet", overwrite=True)
    with pytest.raises(ValueError, match=r"there already; .*--overwrite"):
        check_out(tmp_path / "file.parquet")
    assert check_out(tmp_path / "file.parquet", overwrite=True).exists()
