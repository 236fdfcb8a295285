"""Collections embedded part by part, in this process."""

import io
import json
import os
import pathlib
import shutil
import sys

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from minc_tf import data
from minc_tf.evaluation import (
    embed_collection,
    embed_images,
    load_savedmodel,
)
from minc_tf.evaluation.embedding import images_to_parts
from minc_tf.evaluation.embedding.collection import open_collection
from minc_tf.export import export_savedmodel

from .conftest import make_model
from .photos import (
    NAMES,
    add_bad_files,
    encoded,
    read,
    read_bad,
    save_foreign,
    write_photos,
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return load_savedmodel(export_savedmodel(make_model(), folder, dims=3))


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "made" / "parts"


def rows_of(out, pattern="part-*.parquet"):
    """The rows of all parts, in the order of their names."""
    parts = sorted(out.glob(pattern))
    return pa.concat_tables(map(pq.read_table, parts)).to_pylist()


def good_of(rows):
    return {row["path"]: row["vector"] for row in rows if row["error"] is None}


def test_rows_are_those_of_the_table(encoder, photos, out, tmp_path):
    """Of good images; the bad ones are rows, too, in the same order."""
    bad = add_bad_files(photos)
    table = tmp_path / "table.parquet"
    embed_images(encoder, photos, table)
    result = embed_collection(
        encoder, str(photos), out, batch_size=3, part_size=5
    )
    rows = rows_of(out)
    assert [row["path"] for row in rows] == sorted(
        [*NAMES, *(name for name, _ in bad)]
    )
    good = good_of(rows)
    assert list(good) == NAMES
    np.testing.assert_allclose(list(good.values()), read(table)[1], atol=1e-5)
    told = [[r["path"], r["error"]] for r in rows if r["error"] is not None]
    assert told == bad
    assert all(row["vector"] is None for row in rows if row["error"])
    assert {row["label"] for row in rows} == {-1}

    assert result.pop("images_per_second") > 0
    assert read_bad(result.pop("bad_file")) == [["path", "reason"], *bad]
    assert result == {
        "path": str(out),
        "parts": 4,
        "rows": 7,
        "dim": 8,
        "bad": 9,
        "bad_kinds": "5 .jpg, 4 .png",
    }
    part = pq.ParquetFile(out / "part-000000.parquet")
    schema = part.schema_arrow
    assert schema.names == ["path", "label", "vector", "error"]
    assert schema.field("vector").type == pa.list_(pa.float32(), 8)
    assert schema.field("label").type == pa.int64()
    assert part.metadata.num_rows == 5
    expected = pq.read_schema(table).metadata
    assert schema.metadata.items() >= expected.items()


def test_shards(encoder, photos, out):
    """Every n-th image, and all together each once, next to each other."""
    for i in (2, 0, 1):
        embed_collection(encoder, photos, out, shard=(i, 3), part_size=2)
        rows = rows_of(out, f"part-0000{i}-of-00003-*.parquet")
        assert [row["path"] for row in rows] == NAMES[i::3]
    assert sorted(good_of(rows_of(out))) == NAMES
    assert len(rows_of(out)) == len(NAMES)
    with pytest.raises(ValueError, match=r"another plan.*shards then 3, now 1"):
        embed_collection(encoder, photos, out, part_size=2)
    # More shards than images.
    many = out.with_name("many")
    result = embed_collection(encoder, photos, many, shard=(8, 9))
    assert (result["rows"], result["parts"]) == (0, 0)


class KilledError(BaseException):
    """Stands in for the end of the process."""


def test_goes_on_with_what_is_missing(encoder, photos, out, monkeypatch):
    write = images_to_parts.PartsFolder.write
    begun = []

    def ends(folder, part, *args):
        begun.append(part)
        if len(begun) == 3:
            (folder.folder / f".{part}.killed").mkdir()
            raise KilledError
        return write(folder, part, *args)

    monkeypatch.setattr(images_to_parts.PartsFolder, "write", ends)
    with pytest.raises(KilledError):
        embed_collection(encoder, photos, out, part_size=2)
    # What a failing disk left.
    (out / "part-000001.parquet").write_bytes(b"PAR1")
    result = embed_collection(encoder, photos, out, part_size=2)
    assert begun[3:] == [f"part-00000{i}" for i in (1, 2, 3)]
    assert [row["path"] for row in rows_of(out)] == NAMES
    assert result["rows"] == 7
    assert not list(out.glob(".*"))
    # And nothing is left to do.
    assert embed_collection(encoder, photos, out, part_size=2)["rows"] == 7
    assert len(begun) == 6


def test_another_plan(encoder, photos, out, tmp_path):
    embed_collection(encoder, photos, out, part_size=2)
    for changed, match in (
        ({"output": "embedding"}, "output then 'features', now 'embed"),
        ({"part_size": 3}, "part_size then 2, now 3"),
        ({"max_pixels": 1000}, "max_pixels then 33554432, now 1000"),
    ):
        with pytest.raises(ValueError, match=match) as caught:
            embed_collection(encoder, photos, out, **{"part_size": 2} | changed)
        assert "\n" not in str(caught.value)
    (photos / "new.png").write_bytes(encoded("PNG"))
    with pytest.raises(ValueError, match=r"images then.*7 images.*8 images"):
        embed_collection(encoder, photos, out, part_size=2)
    other = save_foreign(str(tmp_path / "other"))
    with pytest.raises(ValueError, match="savedmodel then"):
        embed_collection(other, photos, out, part_size=2)
    embed_collection(encoder, photos, out, part_size=5, overwrite=True)
    assert len(rows_of(out)) == 8
    (out / "plan.json").write_text("{")
    with pytest.raises(ValueError, match=r"plan.json is damaged"):
        embed_collection(encoder, photos, out, part_size=5)


def example(image, label=None, key="image/encoded"):
    feature = {}
    if image is not None:
        value = tf.train.BytesList(value=[image])
        feature[key] = tf.train.Feature(bytes_list=value)
    if label is not None:
        value = tf.train.Int64List(value=[label])
        feature["label"] = tf.train.Feature(int64_list=value)
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString()


def images(count):
    """PNG files that need no resizing, and their pixels."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 255, (count, 4, 4, 3), np.uint8)
    files = []
    for image in pixels:
        buffer = io.BytesIO()
        PIL.Image.fromarray(image).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return files, pixels


def write_records(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def test_records(encoder, out, tmp_path):
    """Whatever is wrong with one of them, the others are there."""
    files, pixels = images(8)
    folder = tmp_path / "records"
    folder.mkdir()
    records = [
        example(files[0], 4),
        example(files[1], 5),
        example(files[2][:-30], 6),
        example(None, 7),
        b"no example, \xff" * 3,
        example(files[5]),
    ]
    first = folder / "a.tfrecord"
    write_records(first, records)
    contents = bytearray(first.read_bytes())
    contents[contents.index(files[1]) + 20] ^= 1
    first.write_bytes(contents)
    cut = folder / "b.tfrecord"
    write_records(cut, [example(files[6], 1), example(files[7], 2)])
    cut.write_bytes(cut.read_bytes()[:-9])
    (folder / "c.tfrecord").write_bytes(b"\x1f\x8b" + 20 * b"\1")
    (folder / "d.tfrecord").write_bytes(b"")
    result = embed_collection(encoder, folder, out, part_size=4)
    rows = rows_of(out)
    assert [(r["path"], r["label"], r["error"]) for r in rows] == [
        ("a.tfrecord/000000", 4, None),
        ("a.tfrecord/000001", -1, "damaged"),
        ("a.tfrecord/000002", 6, "damaged"),
        ("a.tfrecord/000003", 7, "no feature 'image/encoded'"),
        ("a.tfrecord/000004", -1, "no tf.train.Example"),
        ("a.tfrecord/000005", -1, None),
        ("b.tfrecord/000000", 1, None),
        ("b.tfrecord", -1, "truncated"),
        ("c.tfrecord", -1, "compressed with gzip"),
    ]
    assert (result["rows"], result["bad"]) == (3, 6)
    encode = encoder.encoder_function(as_served=True)
    np.testing.assert_allclose(
        list(good_of(rows).values()), encode(pixels[[0, 5, 6]]), atol=1e-5
    )
    # A shard of them, by a pattern.
    embed_collection(
        encoder, f"{folder}/[ab].*", out.with_name("shard"), shard=(1, 2)
    )
    every = [row["path"] for row in rows_of(out.with_name("shard"))]
    assert every == [row["path"] for row in rows[:8]][1::2]


@pytest.mark.parametrize("nested", [False, True])
def test_columns_of_parquet(encoder, out, tmp_path, nested):
    files, pixels = images(9)
    values = [*files[:7], None, b"text"]
    column = pa.array(values, pa.large_binary())
    if nested:  # as in the data sets of Hugging Face
        column = pa.StructArray.from_arrays([column], ["bytes"])
    labels = pa.array([*range(8), None], pa.int32())
    folder = tmp_path / "tables"
    folder.mkdir()
    table = pa.table({"id": range(9), "image": column, "label": labels})
    pq.write_table(table, folder / "a.parquet", row_group_size=4)
    pq.write_table(pa.table({"x": [1]}), folder / "b.parquet")
    (folder / "c.parquet").write_bytes(b"no table")
    embed_collection(encoder, folder, out, part_size=3)
    rows = rows_of(out)
    assert [(r["path"], r["label"], r["error"]) for r in rows] == [
        *((f"a.parquet/00000{i}", i, None) for i in range(7)),
        ("a.parquet/000007", 7, "empty"),
        ("a.parquet/000008", -1, "no image of a kind that is read"),
        ("b.parquet", -1, "no column 'image' of bytes"),
        ("c.parquet", -1, "no Parquet file, or damaged"),
    ]
    encode = encoder.encoder_function(as_served=True)
    expected = encode(pixels[:7])
    found = list(good_of(rows).values())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    shard = out.with_name("shard")
    embed_collection(encoder, folder, shard, shard=(1, 4), part_size=2)
    assert [row["path"] for row in rows_of(shard)] == [
        row["path"] for row in rows[1::4]
    ]
    with pytest.raises(ValueError, match=r"one of \['image'\]; received 'id'"):
        embed_collection(encoder, folder, shard, feature="id")


def test_a_damaged_row_group(encoder, out, tmp_path):
    """Its rows are bad, those of the others are not."""
    files, _ = images(8)
    path = tmp_path / "a.parquet"
    table = pa.table({"image": pa.array(files, pa.binary())})
    pq.write_table(table, path, row_group_size=4, compression="zstd")
    place = pq.ParquetFile(path).metadata.row_group(0).column(0)
    contents = bytearray(path.read_bytes())
    start = place.data_page_offset
    contents[start : start + 60] = 60 * b"\xff"
    path.write_bytes(contents)
    result = embed_collection(encoder, path, out)
    assert [row["error"] for row in rows_of(out)] == [
        *(4 * ["damaged"]),
        *(4 * [None]),
    ]
    assert result["rows"] == 4


def test_patterns(encoder, photos, out):
    """Names are relative to the folder before the first sign of a pattern."""
    result = embed_collection(encoder, f"{photos}/20*/**/*.[jJ]*", out)
    assert result["rows"] == len(rows_of(out))
    assert sorted(good_of(rows_of(out))) == [
        "2023/deep/er/c.jpeg",
        "2024/a.jpg",
        "2024/b c.JPG",
    ]


def test_a_name_that_looks_like_a_pattern(photos):
    (photos / "a[1].png").write_bytes(encoded("PNG"))
    assert open_collection(photos / "a[1].png").names == ["a[1].png"]
    moved = photos.rename(photos.with_name("my [photos]"))
    assert len(open_collection(moved)) == 8


@pytest.fixture
def store(photos):
    """The photos, and records, in a store; its URI."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(photos), "/bucket/photos", recursive=True)
    files, _ = images(3)
    records = photos.parent / "x.tfrecord"
    write_records(records, [example(file, 3) for file in files])
    memory.put(str(records), "/bucket/x.tfrecord")
    yield "fsspec+memory://bucket"
    memory.rm("/bucket", recursive=True)


def test_a_store(encoder, photos, store, out, tmp_path):
    """The same rows as of the folder."""
    embed_collection(encoder, photos, tmp_path / "here")
    expected = good_of(rows_of(tmp_path / "here"))
    embed_collection(encoder, f"{store}/photos", out)
    assert good_of(rows_of(out)) == expected
    some = open_collection(f"{store}/photos/**/[a-c]*.jp*g")
    assert some.names == ["2023/deep/er/c.jpeg", "2024/a.jpg", "b.jpg"]
    assert open_collection(f"{store}/photos/*.png").names == ["ä.png"]
    records = out.with_name("records")
    embed_collection(encoder, f"{store}/x.tfrecord", records)
    assert [(r["path"], r["label"]) for r in rows_of(records)] == [
        (f"x.tfrecord/00000{i}", 3) for i in range(3)
    ]
    with pytest.raises(FileNotFoundError, match="memory://bucket/no"):
        embed_collection(encoder, f"{store}/no", out)
    with pytest.raises(ValueError, match=r"a store that pyarrow knows.*'x://"):
        embed_collection(encoder, "x://a/b", out)


def test_a_data_set(encoder, out):
    """Its labels, its classes and the names of its table."""
    source = data.load_shapes("test", num_examples=10)
    what = {"name": "shapes", "split": "test", "num_examples": 10}
    embed_collection(encoder, what, out, part_size=4)
    rows = rows_of(out)
    assert [row["label"] for row in rows] == source.labels.tolist()
    assert rows[9]["path"] == "shapes/test/000009"
    table = out.with_suffix(".parquet")
    embed_images(encoder, source, table)
    found = list(good_of(rows).values())
    np.testing.assert_allclose(found, read(table)[1], atol=1e-5)
    metadata = pq.read_schema(out / "part-000000.parquet").metadata
    assert json.loads(metadata[b"class_names"]) == list(source.class_names)


def test_nothing_but_bad_images(encoder, out, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    match = r"1 bad ones and no other \(first 'a.png'\).*bad.csv"
    with pytest.raises(ValueError, match=match):
        embed_collection(encoder, tmp_path / "*.png", out)
    assert read_bad(out / "bad.csv")[1:] == [["a.png", "empty"]]


def test_a_folder_that_goes_away(photos):
    """A drive that is pulled out does not make all its images bad."""
    images = open_collection(photos)
    shutil.move(photos, photos.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError, match="photos' has gone"):
        list(images.read())


def test_vectors_that_are_not_finite(photos, out, tmp_path):
    """Are those of bad images, which end nothing."""
    model = save_foreign(str(tmp_path / "mean"), np.nan)
    with pytest.raises(ValueError, match="7 bad ones"):
        embed_collection(model, photos, out)
    assert {r["error"] for r in rows_of(out)} == {"its vector is not finite"}


def test_a_link_is_an_image_and_a_pipe_is_none(encoder, photos, out):
    os.mkfifo(photos / "2024" / "p.jpg")
    embed_collection(encoder, f"{photos}/2024/*", out)
    errors = {row["path"]: row["error"] for row in rows_of(out)}
    assert errors["p.jpg"] == "a named pipe, no regular file"
    assert len(errors) == 3


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"out": "v.parquet"}, ValueError, "folder for parts; received 'v.p"),
        ({"out": "full"}, ValueError, "with a plan.json.*'full', .*'mine'"),
        ({"out": "full/mine"}, ValueError, "folder for parts.*is a file"),
        ({"out": "/dev/null/a"}, ValueError, "can be written.*Not a"),
        ({"images": "nowhere"}, FileNotFoundError, "received 'nowhere'"),
        ({"images": "empty"}, ValueError, "'empty', where no file is"),
        ({"images": "full"}, ValueError, "'full', where 1 without suffix is"),
        ({"images": 3}, TypeError, "path, a URI or a dict.*received int"),
        ({"engine": "beam"}, ValueError, "'local', 'ray'; received 'beam'"),
        ({"shard": (3, 3)}, ValueError, "0 <= i < n; received '3/3'"),
        ({"shard": (-1, 3)}, ValueError, "0 <= i < n; received '-1/3'"),
        ({"shard": "0/2"}, ValueError, "0 <= i < n; received '0/2'"),
        ({"shard": (0, 2), "engine": "ray"}, ValueError, "divides the work"),
        ({"part_size": 0}, ValueError, "part_size must be .*received 0"),
        ({"workers": 0}, ValueError, "workers must be .*received 0"),
        ({"worker_gpus": -1}, ValueError, "worker_gpus must be .*received -1"),
        ({"feature": "x"}, ValueError, "feature must be None.*'x' for image"),
        ({"output": "logits"}, ValueError, "one of .*features.*'logits'"),
    ],
)
def test_mistakes(encoder, photos, monkeypatch, changed, error, match):
    folder = photos.parent
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "mine").write_text("mine")
    arguments = {"images": "photos", "out": "parts"} | changed
    before = sorted(map(str, folder.rglob("*")))
    with pytest.raises(error, match=match) as caught:
        embed_collection(encoder, **arguments)
    assert "\n" not in str(caught.value)
    assert sorted(map(str, folder.rglob("*"))) == before


def test_without_ray(encoder, photos, out, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'minc_tf\[ray\]'"):
        embed_collection(encoder, photos, out, engine="ray")
    assert not pathlib.Path(out).exists()
