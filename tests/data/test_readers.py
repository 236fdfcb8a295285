"""Random access to record files."""

import builtins

import numpy as np
import pytest
import tensorflow as tf
from record_files import (
    FORMATS,
    READERS,
    RECORDS,
    RNG,
    N,
    example,
    write_arrayrecord,
    write_shards,
    write_tfrecord,
)

import minc_tf.data
from minc_tf.data.records.crc32c import masked_crc32c
from minc_tf.data.records.readers import Shard, TFRecordReader
from minc_tf.data.records.store import read_labels


def _load(kind, path, split="train", **options):
    return minc_tf.data.load(kind, split, data_dir=path, **options)


@FORMATS
def test_reader_returns_any_record(kind, tmp_path):
    paths = write_shards(tmp_path, kind, RECORDS)
    reader = READERS[kind]([Shard(path) for path in paths])
    assert len(reader) == N
    order = [*RNG.permutation(N), 5, 5]
    assert reader.read(order) == [RECORDS[i] for i in order]
    assert reader.read([]) == []
    assert reader.bytes_per_record >= sum(map(len, RECORDS)) / N - 1e-6


@FORMATS
def test_reader_skips_and_takes(kind, tmp_path):
    first, _, last = write_shards(tmp_path, kind, RECORDS)
    quarter = N // 4
    shards = [Shard(first, 3, 4), Shard(last, 100), Shard(first, 0, 0)]
    wanted = RECORDS[3:7] + RECORDS[quarter + 100 :]
    reader = READERS[kind](shards)
    assert reader.read(range(len(reader))) == wanted
    with pytest.raises(ValueError, match=rf"at least 40 rec.*holds {quarter}"):
        READERS[kind]([Shard(first, 30, 10)])


@FORMATS
def test_labels_of_any_record(kind, tmp_path):
    """Records with features before and after the image, or without any."""
    image = RNG.bytes(3000)
    wanted = [3, 0, -1, -5, 2**62, -1, 7, -1]
    records = [
        example(label=3, image=image),
        example(a=1, image=image, label=0, labels=9, labem=8, zebra=b"z"),
        example(image=image),
        example(label=-5, image=image, mean=0.5),
        example(image=image, label=2**62),
        b"",
        example(image=image, mean=0.5, label=7, name=b"x" * 300),
        example(label=1.5, image=image) if kind == "tfrecord" else b"",
    ]
    write_shards(tmp_path, kind, records)
    paths = sorted(str(path) for path in tmp_path.iterdir())
    reader = READERS[kind]([Shard(path) for path in paths])
    order = np.concatenate([RNG.permutation(8), [4, 4]])
    found = read_labels(reader, "label", order)
    assert found.tolist() == [wanted[i] for i in order]
    assert found.dtype == np.int64


def test_record_that_is_no_example(tmp_path):
    write_tfrecord(tmp_path / "a", [RECORDS[0], b"\x0b" + b"no example"])
    reader = TFRecordReader([Shard(str(tmp_path / "a"))])
    with pytest.raises(ValueError, match=r"/a': records must be serialized"):
        reader.read_int64("label", [0, 1])


def test_index_equals_tensorflows_reader(tmp_path):
    """Records of zero and of many bytes, against `TFRecordDataset`."""
    records = [RNG.bytes(n) for n in (0, 1, 70_000, 0, 12, 16)]
    write_tfrecord(tmp_path / "a", records)
    dataset = tf.data.TFRecordDataset(str(tmp_path / "a"))
    reader = TFRecordReader([Shard(str(tmp_path / "a"))])
    found = reader.read(range(len(reader)))
    assert found == list(dataset.as_numpy_iterator()) == records


def test_many_shards_and_few_open_files(tmp_path):
    import resource

    paths = [str(tmp_path / f"{i:03d}") for i in range(200)]
    for i, path in enumerate(paths):
        write_tfrecord(path, [b"%d" % i])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 150), hard))
    try:
        reader = TFRecordReader([Shard(path) for path in paths])
        assert reader.read(range(200)) == [b"%d" % i for i in range(200)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:-3], r"truncated: record 149 at byte \d+ ends at"),
        (lambda b: b[: len(b) // 2], r"truncated: record \d+ at byte"),
        (lambda b: b[:40], r"truncated: record 0 at byte 0 ends at"),
        (lambda b: b + b"\0" * 5, r"truncated: record 150"),
        (lambda b: b + b"\xff" * 40, r"damaged: there is no record at byte"),
        (lambda b: b"hello " * 99, r"must be a TFRecord file; it begins"),
        (lambda b: b"hi", r"must be a TFRecord file; it begins"),
        (lambda b: b"\0" * 99, r"must be a TFRecord file; it begins"),
    ],
)
def test_damaged_tfrecord(tmp_path, damage, message):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, RECORDS)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as error:
        _load("tfrecord", path)
    assert repr(str(path)) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["GZIP", "ZLIB"])
def test_compressed_tfrecord_is_refused(tmp_path, kind):
    path = str(tmp_path / "a.tfrecord")
    with tf.io.TFRecordWriter(path, kind) as writer:
        writer.write(RECORDS[0])
    with pytest.raises(ValueError, match=f"uncompressed.*{kind.lower()}"):
        _load("tfrecord", path)


@pytest.mark.parametrize("content", [b"hello " * 99, b"", "cut"])
def test_damaged_arrayrecord(tmp_path, content):
    path = tmp_path / "a.array_record"
    write_arrayrecord(path, RECORDS)
    cut = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(cut if content == "cut" else content)
    with pytest.raises(ValueError, match=r"a\.array_record' must be an Arr"):
        _load("arrayrecord", path)


def test_arrayrecord_without_its_package(tmp_path, monkeypatch):
    write_arrayrecord(tmp_path / "a.array_record", RECORDS)
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("array_record"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install array_record"):
        _load("arrayrecord", tmp_path / "a.array_record")


def test_file_that_shrinks_later(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, RECORDS)
    reader = TFRecordReader([Shard(str(path))])
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"a\.tfrecord': the file has changed"):
        reader.read([N - 1])


def test_checksums_are_those_of_tensorflow(tmp_path):
    """Of every length around a word, and of many records at once."""
    lengths = [*range(70), 127, 128, 129, 1000, 3333, 100_001]
    records = [RNG.bytes(n) for n in lengths]
    write_tfrecord(tmp_path / "a", records)
    contents, wanted, place = (tmp_path / "a").read_bytes(), [], 0
    for record in records:
        place += 12 + len(record)
        wanted.append(int.from_bytes(contents[place : place + 4], "little"))
        place += 4
    assert masked_crc32c(records).tolist() == wanted


@pytest.mark.parametrize("max_bytes", [0, 2**20])
@pytest.mark.parametrize("place", ["content", "checksum", "length"])
def test_damaged_record(tmp_path, place, max_bytes):
    """A single bit; every image of the other records is whole."""
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, RECORDS)
    contents = bytearray(path.read_bytes())
    start = sum(16 + len(record) for record in RECORDS[:7])
    end = start + 12 + len(RECORDS[7])
    offset = {"content": end - 30, "checksum": end + 1, "length": start + 9}
    contents[offset[place]] ^= 4
    path.write_bytes(contents)
    with pytest.raises(ValueError, match="is damaged: ") as error:
        source = minc_tf.data.load_records(
            "tfrecord",
            path,
            image_size=4,
            max_bytes=max_bytes,
            skip_bad=True,
        )
        source.at(7)
    assert repr(str(path)) in str(error.value)
    assert f"at byte {start}" in str(error.value)
    assert "\n" not in str(error.value)
    if place != "length" and not max_bytes:
        # It is no bad image, which another one could replace.
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            list(source.examples(N))
        assert f"record 7 at byte {start}" in error.value.message


def test_damaged_record_of_an_arrayrecord(tmp_path):
    path = tmp_path / "a.array_record"
    write_arrayrecord(path, RECORDS)
    contents = bytearray(path.read_bytes())
    middle = contents.index(b"\x89PNG", len(contents) // 3)
    contents[middle + 40] ^= 255
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=r"a\.array_record' is damaged") as e:
        _load("arrayrecord", path)
    assert "\n" not in str(e.value)
