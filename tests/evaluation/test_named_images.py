"""Images by name: which there are, and what is wrong with some."""

import os
import shutil

import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from minc_tf import data
from minc_tf.data.formats import fault_of_file
from minc_tf.evaluation import embed_images, load_savedmodel
from minc_tf.evaluation.embedding.named_images import named_images

from .photos import encoded, read_bad, save_foreign, write_photos


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "mean"
    return load_savedmodel(save_foreign(str(path)))


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "vectors.parquet"


def test_header_of_a_jpeg_that_is_too_large(tmp_path):
    contents = encoded("JPEG")
    place = contents.index(b"\xff\xc0") + 5
    path = tmp_path / "huge.jpg"
    path.write_bytes(contents[:place] + 2 * b"\xea\x60" + contents[place + 4 :])
    assert fault_of_file(str(path), 2**25).startswith(
        "too large: 60000 x 60000"
    )


def write_records(path):
    """Five images with labels, of which the third is damaged."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i in range(5):
            contents = encoded("PNG")[: -50 if i == 2 else None]
            image = tf.train.BytesList(value=[contents])
            label = tf.train.Int64List(value=[i])
            feature = {
                "image": tf.train.Feature(bytes_list=image),
                "label": tf.train.Feature(int64_list=label),
            }
            features = tf.train.Features(feature=feature)
            example = tf.train.Example(features=features)
            writer.write(example.SerializeToString())


@pytest.mark.parametrize("max_bytes", [0, 2**20], ids=["disk", "memory"])
def test_bad_images_keep_their_number(encoder, tmp_path, out, max_bytes):
    path = tmp_path / "some.tfrecord"
    write_records(path)
    source = data.load_records(
        "tfrecord", path, skip_bad=True, max_bytes=max_bytes
    )
    result = embed_images(encoder, source, out)
    place = f"{source.name}/train/00000"
    table = pq.read_table(out)
    assert table["path"].to_pylist() == [f"{place}{i}" for i in (0, 1, 3, 4)]
    assert table["label"].to_pylist() == [0, 1, 3, 4]
    assert read_bad(result["bad_file"])[1:] == [[f"{place}2", "damaged"]]


def test_a_source_of_files(encoder, photos, out):
    for name in ("b.jpg", "ä.png"):
        (photos / name).unlink()
    shutil.rmtree(photos / "folder.jpg")
    (photos / "2024" / "bad.jpg").write_bytes(b"text")
    source = data.load_folder(photos, skip_bad=True)
    result = embed_images(encoder, source, out)
    table = pq.read_table(out)
    assert table["path"].to_pylist() == [
        "2023/a.PNG",
        "2024/a.jpg",
        "2024/b c.JPG",
    ]
    assert table["label"].to_pylist() == [0, 1, 1]
    assert read_bad(result["bad_file"])[1:] == [
        ["2024/bad.jpg", "no image of a kind that is read"]
    ]
    assert table.schema.metadata[b"images"] == str(photos).encode()


def test_a_folder_that_goes_away(photos, tmp_path):
    """A drive that is pulled out does not make all its images bad."""
    named = named_images(photos)
    photos.rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="photos' has gone"):
        named.reason(0)


def test_names_that_are_no_text(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / name).write_bytes(encoded("JPEG"))
    with pytest.raises(ValueError, match=r"UTF-8; received b'caf\\xe9.jpg'"):
        named_images(tmp_path)
