"""`minc-search`: what it prints and writes, and mistakes."""

import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from minc_tf import data, evaluation
from minc_tf.export import export_savedmodel, load_savedmodel

from .test_errors import assert_refused

COUNT = 30


def exported(folder, seed):
    """An encoder of 48 mean colours, and a projector of random weights."""
    keras.utils.set_random_seed(seed)
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.AveragePooling2D(2),
            keras.layers.Flatten(),
        ]
    )
    projector = keras.Sequential([keras.Input((48,)), keras.layers.Dense(3)])
    model = types.SimpleNamespace(
        encoder=encoder, projector=projector, objective=keras.layers.Identity()
    )
    return load_savedmodel(export_savedmodel(model, folder))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model, photos, and the table of their vectors."""
    folder = tmp_path_factory.mktemp("search")
    images, _ = data.render_shapes(COUNT, "test")
    for number, image in enumerate(images):
        path = str(folder / "photos" / f"{number % 3}" / f"{number:02d}.png")
        tf.io.write_file(path, tf.io.encode_png(image))
    encoder = exported(folder / "models" / "tiny", 0)
    for output in ("features", "embedding"):
        evaluation.embed_images(
            encoder,
            folder / "photos",
            folder / f"{output}.parquet",
            output=output,
        )
    return types.SimpleNamespace(
        folder=folder,
        photos=folder / "photos",
        model=encoder.path,
        images=images,
        vectors=evaluation.raw_pixels,
    )


@pytest.fixture
def index(place, tmp_path, command):
    """The folder of an index of principal axes."""
    result = command(
        "search",
        "build",
        f"--vectors={place.folder / 'features.parquet'}",
        f"--out={tmp_path / 'index'}",
        "--stages=4:20,12:10",
        "--order=pca",
        "--quiet",
    )
    assert (result.code, result.err) == (0, "")
    part = (30 * 4 + 2 * 20 * 12 + 10 * 48) / (30 * 48)
    assert result.out == (
        f"{tmp_path / 'index'}: 30 vectors of 48; 4 coordinates, 20 kept, 12 "
        f"coordinates, 10 kept, then all: {part:.1%} of the multiply-adds of "
        "an exact search\n"
    )
    return tmp_path / "index"


def query(command, index, place, *flags):
    return command(
        "search",
        "query",
        f"--index={index}",
        f"--savedmodel={place.model}",
        *flags,
    )


def test_a_photo_finds_itself(command, index, place):
    photo = place.photos / "1" / "07.png"
    flags = [f"--images={photo}", "--k=3"]
    result = query(command, index, place, *flags)
    assert result.code == 0, result.err
    first, *lines = result.out.splitlines()
    assert first == f"{photo}:"
    assert lines[0] == "  1.0000  1/07.png" and len(lines) == 3
    again = query(command, index, place, *flags, "--json")
    (row,) = json.loads(again.out)
    assert row["image"] == str(photo)
    assert [f"  {m['cosine']:.4f}  {m['name']}" for m in row["found"]] == lines
    # Mean colours of the images that are named, without any of the library.
    colours = place.images.reshape(COUNT, 4, 8, 4, 8, 3)
    assert row["found"][0]["row"] == 10 + 2 and colours.size


def test_a_folder_with_bad_images_and_a_sheet(command, index, place, tmp_path):
    asked = tmp_path / "asked"
    for name in ("b.png", "a.png"):
        contents = (place.photos / "0" / "03.png").read_bytes()
        tf.io.write_file(str(asked / name), contents)
    (asked / "c.png").write_bytes(b"")
    (place.photos / "0" / "03.png").rename(tmp_path / "away.png")
    sheet = tmp_path / "found.png"
    try:
        result = query(
            command, index, place, f"--images={asked}", f"--sheet={sheet}"
        )
    finally:
        (tmp_path / "away.png").rename(place.photos / "0" / "03.png")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    heads = [line for line in lines if not line.startswith("  ")]
    assert heads == [
        f"{asked / 'a.png'}:",
        f"{asked / 'b.png'}:",
        f"{asked / 'c.png'}: bad, left out: empty",
        str(sheet),
    ]
    assert lines.count("  1.0000  0/03.png") == 2
    with Image.open(sheet) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (2 * (112 + 8 + 14) + 8, 11 * 120 + 16, 3)
    # The first that was found is not there any more.
    assert (pixels[8:120, 136:248] == 200).all()
    assert len(np.unique(pixels[8:120, 256:368].reshape(-1, 3), axis=0)) > 50


def test_an_index_of_another_model_is_refused(command, index, place):
    other = exported(place.folder / "models" / "other", 1)
    result = query(
        command,
        index,
        types.SimpleNamespace(model=other.path),
        f"--images={place.photos}",
    )
    assert_refused(result, "that of the index", place.model, other.path)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--images=nowhere.jpg"], ["'nowhere.jpg' does not exist"]),
        (["--images=PHOTO", "--k=11"], ["k must be at most 10"]),
        (["--images=PHOTO", "--k=31"], ["k must be an int in [1, 30]"]),
        (["--images=PHOTO", "--sheet=a.gif"], [".png or .jpg", "'a.gif'"]),
        (["--images=PHOTO", "--sheet=no/a.png"], ["a folder that exists"]),
        (["--images=PHOTO", "--collection=x"], ["--sheet"]),
        (["--images=PHOTO", "--order=pca"], ["--order is for", "build"]),
        (["--images=EMPTY"], ["1 bad ones and no other", "empty"]),
        ([], ["query needs --images"]),
    ],
)
def test_wrong_queries(command, index, place, tmp_path, flags, parts):
    empty = tmp_path / "empty.jpg"
    empty.write_bytes(b"")
    photo = place.photos / "0" / "00.png"
    flags = [
        flag.replace("PHOTO", str(photo)).replace("EMPTY", str(empty))
        for flag in flags
    ]
    assert_refused(query(command, index, place, *flags), *parts)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["build or query", "'neither'"]),
        (["biuld"], ["build or query", "'biuld'"]),
        (["build", "more"], ["'build more'"]),
        (["build", "--out=x"], ["build needs --vectors"]),
        (["build", "--vectors=x", "--out=y", "--k=3"], ["--k is for", "query"]),
        (["build", "--vectors=x", "--out=y"], ["exists", "'x'"]),
        (["build", "--vectors=T", "--out=y", "--stages=3"], ["stages", "'3'"]),
        (["build", "--vectors=T", "--out=y", "--stages=99:1"], ["at most 48"]),
        (["build", "--vectors=T", "--out=y", "--order=x"], ["'given', 'pca'"]),
        (["query", "--index=x", "--savedmodel=y", "--images=z"], ["'x'"]),
    ],
)
def test_wrong_commands(
    command, place, tmp_path, monkeypatch, arguments, parts
):
    monkeypatch.chdir(tmp_path)
    table = place.folder / "features.parquet"
    arguments = [text.replace("=T", f"={table}") for text in arguments]
    assert_refused(command("search", *arguments), *parts)
    assert list(tmp_path.iterdir()) == []


def test_vectors_without_order_are_told(command, place, tmp_path, caplog):
    """Features, and an embedding that is not MINC's; once each."""
    for output in ("features", "embedding"):
        table = place.folder / f"{output}.parquet"
        flags = [f"--vectors={table}", f"--out={tmp_path / output}"]
        result = command("search", "build", *flags, "--stages=2:9", "--quiet")
        assert result.code == 0
    told = [each.message for each in caplog.records]
    assert [
        output in line
        for output, line in zip(
            ("'features'", "'embedding'"), told, strict=True
        )
    ] == [True, True]
    assert all("--order=pca" in line for line in told)
