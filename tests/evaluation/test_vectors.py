"""Vectors of Parquet files: blocks, and what is refused."""

import itertools
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minc_tf.evaluation import Vectors
from minc_tf.evaluation.embedding.shards import as_vectors

from .vector_files import write_part, write_parts


def rows(count=23, dim=3):
    x = np.random.default_rng(0).normal(size=(count, dim)).astype("float32")
    return x, np.arange(count) % 4


def joined(blocks):
    x, y, paths = zip(*blocks, strict=True)
    return np.concatenate(x), np.concatenate(y), list(itertools.chain(*paths))


def assert_rows(blocks, expected):
    for found, right in zip(joined(blocks), expected, strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("size", [1, 4, 5, 23, 100, None])
def test_blocks_of_parts_with_bad_rows_between(tmp_path, size):
    """Parts of 1, 10, 2 and 10 rows; one holds bad rows alone."""
    x, y = rows()
    write_parts(tmp_path, x, y, (1, 10, 2, 10), bad=(0, 3, 4, 11, 12, 22))
    good = np.setdiff1d(range(23), (0, 3, 4, 11, 12, 22))
    vectors = Vectors(tmp_path)
    assert (len(vectors), vectors.dimension) == (17, 3)
    assert vectors.has_labels
    assert vectors.metadata["output"] == "features"
    blocks = list(vectors.blocks(size))
    assert [len(block) for block, _, _ in blocks[:-1]] == [size] * (
        len(blocks) - 1
    )
    assert all(block.dtype == np.float32 for block, _, _ in blocks)
    expected = x[good], y[good], [f"{i:06d}.jpg" for i in good]
    assert_rows(blocks, expected)
    assert_rows(vectors.blocks(), expected)  # a second pass
    assert next(vectors.blocks(paths=False))[2] == []


def test_files_folders_globs_and_lists(tmp_path):
    x, y = rows()
    write_parts(tmp_path / "a", x[:10], y[:10], (5, 5))
    write_part(tmp_path / "b.parquet", x[10:], y[10:])
    (tmp_path / "a" / ".part-00009.part.parquet").write_bytes(b"unfinished")
    (tmp_path / "a" / "job.json").touch()
    for paths in (
        [tmp_path / "a", tmp_path / "b.parquet"],
        [str(tmp_path / "a" / "part-*.parquet"), str(tmp_path / "b*")],
        str(tmp_path / "[ab]*"),
    ):
        found, labels, _ = joined(Vectors(paths).blocks(7))
        np.testing.assert_array_equal(found, x)
        np.testing.assert_array_equal(labels, y)
    backwards = Vectors([tmp_path / "b.parquet", tmp_path / "a"])
    np.testing.assert_array_equal(
        next(backwards.blocks())[0], np.vstack([x[10:], x[:10]])
    )


def test_a_table_without_labels(tmp_path):
    x, _ = rows()
    write_part(tmp_path / "a.parquet", x, None)
    vectors = Vectors(tmp_path / "a.parquet")
    assert not vectors.has_labels
    assert joined(vectors.blocks())[1].tolist() == [-1] * 23


def test_an_error_is_enough(tmp_path):
    """Arrow before 26 cannot read lists of a fixed size that are null."""
    x, y = rows()
    x[3] = np.nan
    write_part(tmp_path / "a.parquet", x, y, bad=(3, 4), null=False)
    vectors = Vectors(tmp_path / "a.parquet")
    assert len(vectors) == 21
    assert_rows(
        vectors.blocks(4),
        (
            np.delete(x, (3, 4), 0),
            np.delete(y, (3, 4)),
            [f"{i:06d}.jpg" for i in range(23) if i not in (3, 4)],
        ),
    )


def test_null_vectors_without_errors_are_counted(tmp_path):
    """And errors without null vectors, in one table."""
    path = tmp_path / "a.parquet"
    vector = pa.array([[1.0], None, [2.0], [3.0]], pa.list_(pa.float32(), 1))
    error = pa.array(["bad", None, None, "bad"], pa.string())
    names = ["a", "b", "c", "d"]
    table = {"path": names, "vector": vector, "error": error}
    pq.write_table(pa.table(table), path)
    assert len(Vectors(path)) == 1
    assert joined(Vectors(path).blocks())[2] == ["c"]


def test_rows_are_counted_without_statistics(tmp_path):
    x, y = rows()
    path = tmp_path / "a.parquet"
    write_part(path, x, y, bad=(2, 3), write_statistics=False)
    assert len(Vectors(path)) == 21


def test_memory_is_that_of_a_block(tmp_path):
    """Of a file of one row group, and of one that does not repeat."""
    x = np.random.default_rng(0).normal(size=(20_000, 256)).astype("float32")
    write_part(tmp_path / "a.parquet", x, np.zeros(20_000, int))
    vectors = Vectors(tmp_path / "a.parquet")
    del x
    before, most = pa.total_allocated_bytes(), 0
    for _ in vectors.blocks(512):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 8e6  # of 20 MB


def damaged(path, data, **_):
    path.write_bytes(data[:-20])


def empty(path, data, **_):
    path.write_bytes(b"")


def text(path, data, **_):
    path.write_text("path,label,vector\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged, "part-00001.*damaged, or no Parquet file"),
        (empty, "part-00001.*the file is empty"),
        (text, "part-00001.*damaged, or no Parquet file"),
    ],
)
def test_damaged_files(tmp_path, change, message):
    x, y = rows()
    write_parts(tmp_path, x, y, (10, 13))
    path = tmp_path / "part-00001.parquet"
    change(path, path.read_bytes())
    with pytest.raises(ValueError, match=message) as caught:
        Vectors(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_damaged_within(tmp_path):
    """Its end is whole; what comes before is told when it is read."""
    x, y = rows(500)
    path = tmp_path / "a.parquet"
    write_part(path, x, y)
    data = bytearray(path.read_bytes())
    data[4:-800] = os.urandom(len(data) - 804)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.parquet.*damaged"):
        list(Vectors(path).blocks())


def test_a_file_that_is_gone_later(tmp_path):
    x, y = rows()
    write_part(tmp_path / "a.parquet", x, y)
    vectors = Vectors(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(ValueError, match=r"a\.parquet.*No such file"):
        next(vectors.blocks())


def test_paths_that_name_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileNotFoundError, match=r"part-\*.*'.*folder'"):
        Vectors(tmp_path / "folder")
    with pytest.raises(FileNotFoundError, match=r"exists.*none\.parquet"):
        Vectors(tmp_path / "none.parquet")
    with pytest.raises(FileNotFoundError, match=r"glob.*\*\.parquet"):
        Vectors(str(tmp_path / "*.parquet"))
    for wrong in (None, 3, [], [None]):
        with pytest.raises(TypeError, match="a path, or a sequence"):
            Vectors(wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 4}, r"one dimension; received 3 in .*0\.p.* and 4 in .*1\.p"),
        ({"metadata": {"savedmodel": "z"}}, "one savedmodel; .*'a' .*'z' in"),
        (
            {"metadata": {"savedmodel": "a", "output": "embedding"}},
            "one output; .*'features' in .*'embedding' in",
        ),
        ({"kind": pa.list_(pa.float32())}, "'vector' of float32 .*fixed size"),
        ({"kind": pa.list_(pa.float64(), 3)}, "received fixed_size_list.*doub"),
    ],
)
def test_tables_that_do_not_belong_together(tmp_path, change, message):
    x, y = rows()
    write_part(tmp_path / "part-0.parquet", x, y)
    x = np.ones((4, change.pop("dim", 3)), "float32")
    write_part(tmp_path / "part-1.parquet", x, np.arange(4), **change)
    with pytest.raises(ValueError, match=message):
        Vectors(tmp_path)


def test_one_model_under_two_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = rows()
    for number, name in enumerate(("models/a/1", str(tmp_path / "models/a/1"))):
        metadata = {"savedmodel": name, "output": "features"}
        write_part(f"part-{number}.parquet", x, y, metadata=metadata)
    assert len(Vectors(tmp_path)) == 2 * len(x)


def test_no_vectors(tmp_path):
    x, y = rows(3)
    write_part(tmp_path / "a.parquet", x, y, bad=(0, 1, 2))
    with pytest.raises(ValueError, match=r"one or more; .*a\.parquet'"):
        Vectors(tmp_path / "a.parquet")


def test_columns_that_are_missing_or_of_another_kind(tmp_path):
    path = tmp_path / "a.parquet"
    vector = pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2))
    for columns, message in (
        ({"path": ["a"]}, "'vector' of float32 lists.*received none"),
        ({"vector": vector}, "'path' of string; received none"),
        ({"path": [1], "vector": vector}, "'path' of string; received int64"),
        (
            {"path": ["a"], "label": ["b"], "vector": vector},
            "'label' of int64; received string",
        ),
    ):
        pq.write_table(pa.table(columns), path)
        with pytest.raises(ValueError, match=message):
            Vectors(path)


def test_a_vector_with_a_number_missing(tmp_path):
    vector = pa.array([[1.0, None]], pa.list_(pa.float32(), 2))
    pq.write_table(
        pa.table({"path": ["a"], "vector": vector}), tmp_path / "a.parquet"
    )
    with pytest.raises(ValueError, match=r"(of numbers|one or more)"):
        list(Vectors(tmp_path / "a.parquet").blocks())


def test_a_table_that_is_named_twice(tmp_path):
    x, y = rows()
    write_part(tmp_path / "a.parquet", x, y)
    with pytest.raises(ValueError, match=r"once; received .*a\.parquet' twice"):
        Vectors([tmp_path / "a.parquet", str(tmp_path / "*.parquet")])


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_sizes_of_a_block(tmp_path, size):
    x, y = rows()
    write_part(tmp_path / "a.parquet", x, y)
    with pytest.raises(ValueError, match="rows must be an int >= 1"):
        Vectors(tmp_path / "a.parquet").blocks(size)


def test_as_vectors_names_the_argument(tmp_path):
    x, y = rows()
    write_part(tmp_path / "a.parquet", x, y)
    vectors = Vectors(tmp_path / "a.parquet")
    assert as_vectors("train", vectors) is vectors
    assert len(as_vectors("train", tmp_path / "a.parquet")) == 23
    with pytest.raises(FileNotFoundError, match=r"^test: vectors must be"):
        as_vectors("test", tmp_path / "b.parquet")
    with pytest.raises(TypeError, match=r"^test: vectors must be"):
        as_vectors("test", None)
