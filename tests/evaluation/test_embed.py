"""Tables of vectors: what is in them, what is left out, going on."""

import json
import pathlib
import shutil

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from minc_tf import data
from minc_tf.evaluation import embed_images, load_savedmodel
from minc_tf.evaluation.embedding import images_to_table
from minc_tf.export import SavedEncoder, export_savedmodel

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


class KilledError(BaseException):
    """Stands in for the end of the process."""


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """An export that serves three of the four coordinates, of norm one."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return export_savedmodel(model, folder, dims=3, normalize=True)


@pytest.fixture(scope="module")
def encoder(exported):
    return load_savedmodel(exported)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("images") / "photos")


@pytest.fixture
def photos(originals, tmp_path):
    """A folder of one's own with them."""
    return pathlib.Path(shutil.copytree(originals, tmp_path / "photos"))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "made" / "vectors.parquet"


@pytest.mark.parametrize(("output", "dim"), [("features", 8), ("embedding", 3)])
def test_vectors_are_those_of_the_server(encoder, originals, out, output, dim):
    """Of the bytes of each file, sent alone."""
    result = embed_images(encoder, originals, out, output=output, batch_size=3)
    names, vectors = read(out)
    assert names == NAMES
    serve = encoder._module.signatures["serving_default"]
    for name, vector in zip(names, vectors, strict=True):
        contents = (originals / name).read_bytes()
        expected = serve(image_bytes=tf.constant([contents]))[output][0]
        np.testing.assert_allclose(vector, expected, atol=1e-5)
    assert len(np.unique(vectors.round(4), axis=0)) == len(NAMES)

    assert result.pop("images_per_second") > 0
    assert result == {
        "path": str(out),
        "rows": 7,
        "dim": dim,
        "bad": 0,
        "bad_file": None,
        "bad_kinds": "",
    }
    schema = pq.read_schema(out)
    assert schema.names == ["path", "vector"]
    assert schema.field("vector").type == pa.list_(pa.float32(), dim)
    metadata = dict(schema.metadata)
    assert len(metadata.pop(b"model")) == 12
    assert metadata == {
        b"savedmodel": encoder.path.encode(),
        b"version": b"1",
        b"commit": (encoder.manifest["commit"] or "").encode(),
        b"output": output.encode(),
        b"ordered": b"true" if output == "embedding" else b"false",
        b"dimension": str(dim).encode(),
        b"images": str(originals).encode(),
    }
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_bad_files_are_left_out_and_listed(encoder, model, photos, out):
    """The vectors, of images that need no resizing, are those of Keras."""
    expected = add_bad_files(photos)
    result = embed_images(encoder, photos, out, batch_size=3)
    assert (result["rows"], result["bad"]) == (7, len(expected))
    assert result["bad_kinds"] == "5 .jpg, 4 .png"
    listed = read_bad(result["bad_file"])
    assert listed[0] == ["path", "reason"]
    assert listed[1:] == expected
    vectors = dict(zip(*read(out), strict=True))
    assert list(vectors) == NAMES
    for name in ("2023/deep/er/d.png", "ä.png"):
        pixels = np.asarray(PIL.Image.open(photos / name), np.float32)
        features = model.encoder(pixels[None])[0]
        np.testing.assert_allclose(vectors[name], features, atol=1e-5)


def test_nothing_but_bad_files(encoder, tmp_path, out):
    folder = tmp_path / "photos"
    folder.mkdir()
    expected = add_bad_files(folder)
    match = r"9 bad ones and no other \(first '0/cut.jpg', damaged\).*\.csv"
    with pytest.raises(ValueError, match=match):
        embed_images(encoder, folder, out)
    assert read_bad(out.with_suffix(".bad.csv"))[1:] == expected
    assert len(list(out.parent.iterdir())) == 1


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(images_to_table, "_PART", 4)


def interrupt(monkeypatch, batches):
    """Let the encoder end the process after so many; return what it saw."""
    make, seen = SavedEncoder.encoder_function, []

    def interrupted(encoder, output, **kwargs):
        encode = make(encoder, output, **kwargs)

        def call(images):
            if len(images) > 1:  # not the first call, which asks for D
                seen.append(len(images))
                if len(seen) > batches:
                    raise KilledError
            return encode(images)

        return call

    monkeypatch.setattr(SavedEncoder, "encoder_function", interrupted)
    return seen


def test_goes_on_where_it_was(
    encoder, photos, out, tmp_path, monkeypatch, small_parts
):
    """Parts of two batches of two; the end comes in the second part."""
    bad = add_bad_files(photos)
    whole = tmp_path / "whole.parquet"
    embed_images(encoder, photos, whole, batch_size=2)

    interrupt(monkeypatch, 2)
    with pytest.raises(KilledError):
        embed_images(encoder, photos, out, batch_size=2)
    assert not out.exists()
    parts = sorted(out.with_name("vectors.parquet.partial").iterdir())
    assert [part.name for part in parts] == ["job.json", "part-00000.parquet"]
    monkeypatch.undo()
    monkeypatch.setattr(images_to_table, "_PART", 4)

    seen = interrupt(monkeypatch, 100)
    result = embed_images(encoder, photos, out, batch_size=2)
    assert seen == [2]  # and one image after it
    assert result["bad"] == len(bad)
    assert out.read_bytes() == whole.read_bytes()
    listed = out.with_suffix(".bad.csv").read_text()
    assert listed == whole.with_suffix(".bad.csv").read_text()
    assert len(list(out.parent.iterdir())) == 2


@pytest.fixture
def begun(encoder, photos, out, monkeypatch, small_parts):
    """A table whose first part is there."""
    interrupt(monkeypatch, 2)
    with pytest.raises(KilledError):
        embed_images(encoder, photos, out, batch_size=2)
    monkeypatch.undo()
    return out


def test_parts_of_another_job(begun, encoder, photos, tmp_path):
    with pytest.raises(ValueError, match="output then 'features', now 'embed"):
        embed_images(encoder, photos, begun, output="embedding")
    (photos / "new.jpg").write_bytes(encoded("JPEG"))
    match = r"another job \(images then '.*: 7 images .* 8 images .*overwrite"
    with pytest.raises(ValueError, match=match):
        embed_images(encoder, photos, begun)
    (photos / "new.jpg").rename(photos / "b.jpg")
    other = shutil.copytree(encoder.path, tmp_path / "other" / "1")
    with pytest.raises(ValueError, match=r"savedmodel then '.*', now '.*other"):
        embed_images(other, photos, begun)
    job = begun.with_name(f"{begun.name}.partial") / "job.json"
    job.write_text("[1]")
    with pytest.raises(ValueError, match=r"job.json is damaged"):
        embed_images(encoder, photos, begun)
    embed_images(encoder, photos, begun, output="embedding", overwrite=True)
    assert read(begun)[1].shape == (7, 3)
    assert not job.parent.exists()


def test_a_table_that_is_there(encoder, photos, out):
    out.parent.mkdir()
    out.write_text("mine")
    with pytest.raises(ValueError, match=r"vectors.parquet', which is there"):
        embed_images(encoder, photos, out)
    assert out.read_text() == "mine"
    embed_images(encoder, photos, out, overwrite=True)
    assert read(out)[0] == NAMES


def test_a_source_without_files(encoder, out):
    """Images of another size, with labels."""
    source = data.load_shapes("test", num_examples=10)
    embed_images(encoder, source, out, batch_size=4)
    table = pq.read_table(out)
    assert table.column_names == ["path", "label", "vector"]
    assert table["path"].to_pylist()[:2] == [
        "shapes/test/000000",
        "shapes/test/000001",
    ]
    assert table["label"].to_pylist() == source.labels.tolist()
    metadata = table.schema.metadata
    assert json.loads(metadata[b"class_names"]) == list(source.class_names)
    assert metadata[b"images"] == b"shapes/test"
    serve = encoder._module.signatures["serve_images"]
    expected = serve(images=tf.constant(source.images))["features"]
    np.testing.assert_allclose(read(out)[1], expected, atol=1e-5)


def test_vectors_that_are_not_finite(encoder, photos, out, monkeypatch):
    make = SavedEncoder.encoder_function

    def broken(encoder, output, **kwargs):
        encode = make(encoder, output, **kwargs)

        def call(images):
            vectors = encode(images).numpy()
            vectors[1:2, 3] = np.inf
            return vectors

        return call

    monkeypatch.setattr(SavedEncoder, "encoder_function", broken)
    with pytest.raises(
        ValueError, match=r"finite.*'2023/deep/er/c.jpeg' \(and in 0 more of 3"
    ):
        embed_images(encoder, photos, out, batch_size=3)
    assert not out.exists()


def test_the_bar(encoder, photos, out, capsys):
    add_bad_files(photos)
    embed_images(encoder, photos, out, batch_size=4, verbose=1)
    assert "16.0/16.0" in capsys.readouterr().out


def test_a_foreign_savedmodel(photos, out, tmp_path, monkeypatch, small_parts):
    """The same path, the same graph, other weights: another job."""
    path = save_foreign(str(tmp_path / "mean"))
    interrupt(monkeypatch, 2)
    with pytest.raises(KilledError):
        embed_images(path, photos, out, batch_size=2)
    monkeypatch.undo()
    save_foreign(path, 2.0)
    with pytest.raises(ValueError, match=r"another job \(savedmodel then"):
        embed_images(path, photos, out)
    with pytest.raises(ValueError, match=r"images of one size; .*'free' takes"):
        embed_images(path, photos, out, output="free")

    embed_images(path, photos, out, overwrite=True)
    vectors = dict(zip(*read(out), strict=True))
    pixels = 2 * np.asarray(PIL.Image.open(photos / "ä.png"), np.float32)
    np.testing.assert_allclose(vectors["ä.png"], pixels.mean((0, 1)), rtol=1e-5)
    metadata = pq.read_schema(out).metadata
    assert metadata[b"version"] == metadata[b"commit"] == b""


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"out": "vectors.csv"}, ValueError, "end in .parquet; received 'vec"),
        ({"out": "."}, ValueError, "end in .parquet; received '.'"),
        ({"out": "/dev/null/a.parquet"}, ValueError, "can be written.*Not a"),
        ({"images": "nowhere"}, FileNotFoundError, "folder; received 'nowh"),
        ({"images": "empty"}, ValueError, r"JPEG, .*'empty', which has none"),
        ({"images": 3}, TypeError, "a folder or an ImageSource; received int"),
        ({"savedmodel": "no"}, FileNotFoundError, "'no', which does not exist"),
        ({"output": "logits"}, ValueError, "one of .*features.*'logits'"),
        ({"batch_size": 0}, ValueError, "batch_size must be .*received 0"),
    ],
)
def test_mistakes(
    encoder, originals, tmp_path, monkeypatch, changed, error, match
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    arguments = {"savedmodel": encoder, "images": originals} | changed
    with pytest.raises(error, match=match) as caught:
        embed_images(**{"out": "vectors.parquet"} | arguments)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
