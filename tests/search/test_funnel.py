"""`FunnelIndex` against brute force, and what it refuses."""

import json
import logging
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minc_tf.evaluation import Vectors
from minc_tf.search import FunnelIndex, nearest
from minc_tf.search.stages import check_stages, multiply_adds, parse_stages

ENGINES = ("numpy", "faiss")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(params=ENGINES)
def engine(request):
    if request.param == "faiss":
        pytest.importorskip("faiss")
    return request.param


def ordered(rng, count, dimension=16):
    """Vectors whose coordinates shrink."""
    return rng.normal(size=(count, dimension)) / np.arange(1, dimension + 1)


def brute(x, queries, k):
    """Cosines in float64, and the rows of the largest."""
    x, queries = (v / np.linalg.norm(v, axis=1)[:, None] for v in (x, queries))
    cosines = queries @ x.T
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(cosines, rows, 1), rows


@pytest.mark.parametrize("order", ["given", "pca"])
@pytest.mark.parametrize("stages", [(), [(2, 300)], [(1, 300), (5, 300)]])
def test_all_kept_is_exact(rng, engine, stages, order):
    x, queries = ordered(rng, 300), 9.0 * ordered(rng, 20)
    cosines, rows = brute(x, queries, 7)
    index = FunnelIndex(x, stages=stages, order=order)
    found = index.search(queries, 7, engine=engine)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_allclose(found.cosines, cosines, atol=1e-6)
    assert found.names is None and found.cosines.dtype == np.float32


def test_each_stage_keeps_the_best_of_the_one_before(rng, engine):
    """A funnel written out, by the cosine of what is left."""
    x, queries = ordered(rng, 200), ordered(rng, 10)
    index = FunnelIndex(x, stages=[(2, 40), (4, 12)])
    found = index.search(queries, 5, engine=engine)
    for query, rows in zip(queries, found.rows, strict=True):
        left = np.arange(200)
        for dim, kept in ((2, 40), (4, 12), (16, 5)):
            cut = x[left, :dim]
            score = cut @ query[:dim] / np.linalg.norm(cut, axis=1)
            left = left[np.argsort(-score, kind="stable")[:kept]]
        np.testing.assert_array_equal(rows, left)


def test_recall_grows_with_what_is_kept_and_compared(rng):
    x, queries = ordered(rng, 2000, 32), ordered(rng, 50, 32)
    _, right = brute(x, queries, 10)

    def recall(*stages):
        rows = FunnelIndex(x, stages=stages).search(queries, 10).rows
        pairs = zip(rows, right, strict=True)
        return np.mean([np.isin(a, b).mean() for a, b in pairs])

    kept = [recall((2, count)) for count in (10, 40, 160, 640, 2000)]
    dims = [recall((dim, 20)) for dim in (1, 2, 4, 8, 16)]
    for found in (kept, dims):
        assert found == sorted(found) and found[0] < 0.9 * found[-1]
    assert kept[-1] == 1.0
    # Of coordinates the wrong way round the first tell little.
    x, queries = x[:, ::-1], queries[:, ::-1]
    assert recall((4, 40)) < 0.5
    assert FunnelIndex(x, order="pca", stages=[(4, 40)]).order == "pca"


def test_pca_finds_the_order_of_turned_vectors(rng):
    x, queries = ordered(rng, 1000, 32), ordered(rng, 30, 32)
    turn, _ = np.linalg.qr(rng.normal(size=(32, 32)))
    _, right = brute(x, queries, 5)

    def recall(order):
        index = FunnelIndex(x @ turn, stages=[(8, 50)], order=order)
        rows = index.search(queries @ turn, 5).rows
        return np.mean(np.sort(rows, 1) == np.sort(right, 1))

    assert recall("pca") > 0.95 > 0.7 > recall("given")


def test_ties_go_to_the_lower_row(rng, engine):
    x = np.repeat(np.eye(4), 5, axis=0)[rng.permutation(20)]
    for stages in ((), [(4, 20)]):
        found = FunnelIndex(x, stages=stages).search(np.eye(4), 5)
        for axis, rows in enumerate(found.rows):
            np.testing.assert_array_equal(rows, np.flatnonzero(x[:, axis]))
    same = FunnelIndex(np.ones((50, 3)), stages=[])
    np.testing.assert_array_equal(same.search(np.ones(3), 4).rows, [range(4)])
    assert same.search(np.ones(3), 1).cosines <= 1.0


def test_a_vector_of_the_index_finds_itself_first(rng, engine):
    x = ordered(rng, 500, 64)
    index = FunnelIndex(x, [f"{row}.jpg" for row in range(500)])
    assert index.stages == ((8, 200),)
    found = index.search(1e30 * x[::7], 3, engine=engine)
    np.testing.assert_array_equal(found.rows[:, 0], range(0, 500, 7))
    np.testing.assert_allclose(found.cosines[:, 0], 1.0, atol=1e-6)
    assert found.names[2][0] == "14.jpg" and len(found.names[2]) == 3


def test_blocks_smaller_than_the_collection(rng, monkeypatch):
    x, queries = ordered(rng, 333), ordered(rng, 9)
    index = FunnelIndex(x, stages=[(4, 50)])
    whole = index.search(queries, 8, engine="numpy")
    monkeypatch.setattr(nearest, "_ELEMENTS", 100)
    monkeypatch.setattr(nearest, "_QUERIES", 4)
    parts = index.search(queries, 8, engine="numpy")
    np.testing.assert_array_equal(whole.rows, parts.rows)
    np.testing.assert_array_equal(whole.cosines, parts.cosines)


def test_without_faiss(rng, monkeypatch):
    index = FunnelIndex(ordered(rng, 40))
    monkeypatch.setattr(nearest, "_faiss", lambda: None)
    assert index.search(np.ones(16)).rows.shape == (1, 10)
    with pytest.raises(ImportError, match=r"pip install minc_tf\[search\]"):
        index.search(np.ones(16), engine="faiss")


def test_zero_vectors_are_nobodys_neighbours(rng):
    x = np.concatenate([np.zeros((3, 4)), np.ones((3, 4))])
    found = FunnelIndex(x, stages=[]).search(np.ones(4), 6)
    np.testing.assert_array_equal(found.rows, [[3, 4, 5, 0, 1, 2]])
    np.testing.assert_allclose(found.cosines, [[1, 1, 1, 0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("order", ["given", "pca"])
@pytest.mark.parametrize("stages", [(), [(4, 60), (8, 30)]])
def test_save_and_load(rng, tmp_path, stages, order, monkeypatch):
    x, queries = ordered(rng, 100), ordered(rng, 5)
    names = [f"a/{row}\n.jpg" for row in range(100)]
    index = FunnelIndex(
        x, names, stages=stages, order=order, metadata={"output": "embedding"}
    )
    monkeypatch.setattr("minc_tf.search.folder.block_rows", lambda _: 7)
    index.save(tmp_path / "index")
    again = FunnelIndex.load(tmp_path / "index")
    assert again.metadata == {"output": "embedding"}
    assert (again.stages, again.order, len(again)) == (
        index.stages,
        order,
        100,
    )
    for one, two in zip(
        index.search(queries), again.search(queries), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    assert isinstance(again._vectors.base, np.memmap)
    # Saved once more, from the disk, it is the same.
    again.save(tmp_path / "again")
    for file in (tmp_path / "index").iterdir():
        assert (
            file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
        )


def table(path, x, **metadata):
    """A table as `minc-embed` writes it, with a bad image as an engine does."""
    vectors = [None, *x.astype("float32").tolist()]
    names = [f"{row}.jpg" for row in range(-1, len(x))]
    schema = pa.schema(
        [
            ("path", pa.string()),
            ("vector", pa.list_(pa.float32(), x.shape[1])),
        ],
        metadata={"output": "embedding", **metadata},
    )
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table([names, vectors], schema=schema), path)
    return path


@pytest.mark.parametrize("order", ["given", "pca"])
def test_built_of_tables(rng, tmp_path, order, monkeypatch):
    x = ordered(rng, 90)
    for number in range(3):
        part = tmp_path / "parts" / f"part-{number:05d}.parquet"
        table(part, x[30 * number : 30 * number + 30])
    monkeypatch.setattr("minc_tf.search.folder.block_rows", lambda _: 40)
    index = FunnelIndex.build(
        tmp_path / "parts", tmp_path / "index", stages=[(4, 40)], order=order
    )
    same = FunnelIndex(x, stages=[(4, 40)], order=order)
    found, wanted = index.search(x[:9], 4), same.search(x[:9], 4)
    np.testing.assert_array_equal(found.rows, wanted.rows)
    np.testing.assert_allclose(found.cosines, wanted.cosines, atol=1e-6)
    assert [names[0] for names in found.names] == [f"{n}.jpg" for n in range(9)]
    assert index.metadata["output"] == "embedding"
    vectors = Vectors(tmp_path / "parts")
    with pytest.raises(ValueError, match="which holds an index"):
        FunnelIndex.build(vectors, tmp_path / "index")
    FunnelIndex.build(vectors, tmp_path / "index", stages=[], overwrite=True)
    assert FunnelIndex.load(tmp_path / "index").stages == ()
    assert not (tmp_path / "index" / "first.npy").exists()


@pytest.mark.parametrize(
    ("metadata", "settings", "count"),
    [
        ({"output": "features"}, {}, 1),
        ({"output": "features"}, {"order": "pca"}, 0),
        ({"output": "features"}, {"stages": []}, 0),
        ({"output": "embedding"}, {}, 0),
        ({"output": "embedding", "ordered": "false"}, {}, 1),
    ],
)
def test_warns_of_vectors_without_order(
    rng, tmp_path, caplog, metadata, settings, count
):
    path = table(tmp_path / "a.parquet", ordered(rng, 20), **metadata)
    with caplog.at_level(logging.WARNING, "minc_tf"):
        settings = {"stages": [(4, 9)], **settings}
        FunnelIndex.build(path, tmp_path / "index", **settings)
    assert len(caplog.records) == count
    assert all("--order=pca" in each.message for each in caplog.records)


def test_tables_without_vectors(tmp_path):
    path = table(tmp_path / "a.parquet", np.ones((0, 4)))
    with pytest.raises(ValueError, match=r"must be one or more.*a\.parquet"):
        FunnelIndex.build(path, tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_an_interrupted_write_is_refused(rng, tmp_path, monkeypatch):
    index = FunnelIndex(ordered(rng, 20), stages=[(2, 9)])
    folder = tmp_path / "index"
    index.save(folder)
    replace = os.replace

    def ended(source, target):
        if str(target).endswith("index.json"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", ended)
    with pytest.raises(KeyboardInterrupt):
        index.save(folder, overwrite=True)
    with pytest.raises(ValueError, match=r"was interrupted; build it again"):
        FunnelIndex.load(folder)
    monkeypatch.setattr(os, "replace", replace)
    # A process that is killed leaves parts, which nobody else clears away.
    (folder / ".vectors.part.npy").write_bytes(b"half")
    index.save(folder)
    assert len(FunnelIndex.load(folder)) == 20


def test_damaged_folders(rng, tmp_path):
    folder = tmp_path / "index"
    index = FunnelIndex(
        ordered(rng, 20), ["a"] * 20, order="pca", stages=[(2, 9)]
    )
    for name in ("vectors.npy", "first.npy", "rotation.npy", "names.parquet"):
        index.save(folder, overwrite=True)
        whole = (folder / name).read_bytes()
        for contents in (b"", whole[:-5]):
            (folder / name).write_bytes(contents)
            with pytest.raises(ValueError, match=f"{name}' is damaged"):
                FunnelIndex.load(folder)
    index.save(folder, overwrite=True)
    np.save(folder / "first.npy", np.ones((20, 3), "float32"))
    with pytest.raises(ValueError, match=r"float32 \(20, 3\) in place of"):
        FunnelIndex.load(folder)
    record = json.loads((folder / "index.json").read_text())
    for text, part in (("{", "damaged"), ('{"format": 9}', "format 9")):
        (folder / "index.json").write_text(text)
        with pytest.raises(ValueError, match=part):
            FunnelIndex.load(folder)
    assert record["count"] == 20
    with pytest.raises(FileNotFoundError, match="'nowhere'"):
        FunnelIndex.load("nowhere")


def test_folders_of_others_are_left_alone(rng, tmp_path):
    index = FunnelIndex(ordered(rng, 20))
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"holds 'photo\.jpg'"):
        index.save(tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="a file"):
        index.save(tmp_path / "photo.jpg", overwrite=True)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            {"vectors": np.ones((0, 4))},
            r"vectors must be a non-empty.*\(0, 4\)",
        ),
        ({"vectors": np.ones(4)}, r"received shape \(4,\)"),
        ({"vectors": np.full((2, 4), np.nan)}, "NaN .* in 2 of 2"),
        ({"stages": [(5, 2)]}, r"at most 4 coordinates.*\[\(5, 2\)\]"),
        ({"stages": [(2, 3), (2, 2)]}, "coordinates ascend"),
        ({"stages": [(1, 2), (2, 3)]}, "kept do not"),
        ({"stages": [(0, 2)]}, "ints >= 1"),
        ({"stages": [(1.5, 2)]}, "ints >= 1"),
        ({"stages": 3}, "pairs"),
        ({"order": "variance"}, "one of 'given', 'pca'"),
        ({"names": ["a"]}, "names must be 6.*received 1"),
    ],
)
def test_wrong_settings(change, error):
    with pytest.raises(ValueError, match=error) as raised:
        FunnelIndex(**{"vectors": np.ones((6, 4)), **change})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("queries", "k", "error"),
    [
        (np.ones((1, 3)), 1, "queries must be of 4 dimensions.*received 3"),
        (np.zeros((2, 4)), 1, "queries must not be zero; received 2"),
        (np.ones(4), 7, r"k must be an int in \[1, 6\]; received 7"),
        (np.ones(4), 0, r"k must be an int in \[1, 6\]; received 0"),
        (np.ones(4), 4, "k must be at most 3, as many as the stages keep"),
        (np.full(4, np.inf), 1, "queries must be finite"),
    ],
)
def test_wrong_queries(queries, k, error):
    index = FunnelIndex(np.ones((6, 4)), stages=[(2, 3)])
    with pytest.raises(ValueError, match=error):
        index.search(queries, k)


def test_cost():
    assert multiply_adds((), 1000, 64) == 64_000
    stages = ((8, 100), (16, 20))
    assert multiply_adds(stages, 1000, 64) == 8000 + 2 * 1600 + 1280
    assert multiply_adds(((8, 100),), 10, 64) == 80 + 640
    assert check_stages(None, 401, 128) == ((16, 200),)
    assert check_stages(None, 400, 128) == check_stages(None, 401, 12) == ()
    assert parse_stages("16:500,32:100") == [(16, 500), (32, 100)]
    assert parse_stages("exact") == []
    for text in ("16", "16:a", "16:2:3", ""):
        with pytest.raises(ValueError, match="COORDINATES:KEPT"):
            parse_stages(text)


WITHOUT_BACKEND = """
import sys

import numpy as np

from minc_tf.search import FunnelIndex

FunnelIndex(np.eye(20)).save("index")
assert FunnelIndex.load("index").search(np.eye(20), 1).rows[7, 0] == 7
assert not {"keras", "tensorflow", "jax"} & set(sys.modules)
"""


def test_a_search_waits_for_no_backend(tmp_path):
    paths = os.pathsep.join(filter(None, sys.path))
    subprocess.run(
        [sys.executable, "-c", WITHOUT_BACKEND],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
    )
