"""`minc-embed`: what it prints and writes, and mistakes."""

import types

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from minc_tf import data
from minc_tf.export import export_savedmodel

from .test_errors import assert_refused


@pytest.fixture(scope="module")
def savedmodel(tmp_path_factory):
    """An encoder of 12 mean colours, and three outputs of a projector."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.AveragePooling2D(4),
            keras.layers.Flatten(),
        ]
    )
    projector = keras.Sequential([keras.Input((12,)), keras.layers.Dense(3)])
    model = types.SimpleNamespace(
        encoder=encoder, projector=projector, objective=keras.layers.Identity()
    )
    return export_savedmodel(model, tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def photos(tmp_path):
    images, _ = data.render_shapes(5, "test")
    for name, image in zip("edcba", images, strict=True):
        contents = tf.io.encode_png(image)
        tf.io.write_file(str(tmp_path / "photos" / f"{name}.png"), contents)
    return tmp_path / "photos"


def test_a_folder(command, savedmodel, photos, tmp_path):
    (photos / "bb.jpg").write_bytes(b"")
    out = tmp_path / "vectors.parquet"
    flags = [f"--savedmodel={savedmodel}", f"--images={photos}", f"--out={out}"]
    result = command("embed", *flags, "--batch_size=2")
    assert result.code == 0, result.err
    *_, bad, last = result.out.splitlines()
    listed = tmp_path / "vectors.bad.csv"
    assert bad == f"bad images (1 .jpg) are left out and listed in {listed}"
    assert last.startswith(f"{out}: 5 vectors of 12, bad images: 1, ")
    assert last.endswith(" images/s")
    assert "6.00/6.00" in result.out
    table = pq.read_table(out)
    assert table["path"].to_pylist() == [f"{name}.png" for name in "abcde"]

    assert_refused(command("embed", *flags), out, "there already")
    (photos / "bb.jpg").unlink()
    again = command(
        "embed", *flags, "--overwrite", "--output=embedding", "--quiet"
    )
    (line,) = again.out.splitlines()
    assert line.startswith(f"{out}: 5 vectors of 3, bad images: 0, ")
    assert pq.read_schema(out).metadata[b"output"] == b"embedding"


def test_a_data_set(command, savedmodel, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (7, 10, 9, 3), dtype="uint8")
    np.savez(tmp_path / "a.npz", x_test=images, y_test=np.arange(7) % 3)
    out = tmp_path / "vectors.parquet"
    result = command(
        "embed",
        f"--savedmodel={savedmodel}",
        "--data=npz",
        "--split=test",
        f"--data_dir={tmp_path / 'a.npz'}",
        f"--out={out}",
        "--quiet",
    )
    assert result.code == 0, result.err
    table = pq.read_table(out)
    assert table["label"].to_pylist() == [0, 1, 2, 0, 1, 2, 0]
    assert table["path"][6].as_py().endswith("/test/000006")


def test_parts(command, savedmodel, photos, tmp_path):
    """Of each shard; the same command finds nothing to do."""
    (photos / "bb.jpg").write_bytes(b"")
    out = tmp_path / "vectors"
    flags = [
        f"--savedmodel={savedmodel}",
        f"--images={photos}/*",
        f"--out={out}/",
        "--part_size=2",
        "--quiet",
    ]
    for shard, told in (
        ("0/2", "2 vectors of 12 in 2 parts, bad images: 1, "),  # a, bb, d
        ("1/2", "3 vectors of 12 in 2 parts, bad images: 0, "),
        ("0/2", "2 vectors of 12 in 2 parts, bad images: 1, "),
    ):
        result = command("embed", *flags, f"--shard={shard}")
        assert result.code == 0, result.err
        *_, last = result.out.splitlines()
        assert last.startswith(f"{out}: {told}")
    parts = sorted(out.glob("part-*.parquet"))
    names = [n for p in parts for n in pq.read_table(p)["path"].to_pylist()]
    assert names == [
        *("a.png", "bb.jpg", "d.png"),
        *("b.png", "c.png", "e.png"),
    ]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["--images=FOLDER or --data=NAME", "received neither"]),
        (["--images=photos", "--data=shapes"], ["one of the two", "both"]),
        (["--data=shapes"], ["--data=shapes needs --split"]),
        (["--images=photos", "--split=test"], ["--split needs --data"]),
        (["--images=photos", "--data_dir=x"], ["--data_dir needs --data"]),
        (["--data=shapes", "--split=tst"], ["split", "'tst'", "'test'"]),
        (["--images=nowhere"], ["images must be an existing", "'nowhere'"]),
        (["--images=."], ["JPEG, PNG or other images", "'.'"]),
        (["--images=.", "--out=a.csv"], ["end in .parquet", "'a.csv'"]),
        (["--images=.", "--out=/dev/null/a.parquet"], ["can be written"]),
        (["--images=.", "--output=logits"], ["one of embedding", "'logits'"]),
        (["--images=.", "--batch_size=0"], ["--batch_size=0"]),
        (["--images=.", "--savedmodel=no"], ["'no', which does not exist"]),
        (["--images=.", "--out=d/", "--shard=2/2"], ["i/n", "--shard=2/2"]),
        (["--images=.", "--out=d/", "--shard=-1/2"], ["i/n", "--shard=-1/2"]),
        (["--images=.", "--out=d/", "--shard=1"], ["i/n", "--shard=1"]),
        (["--images=.", "--out=d/", "--shard=0/0"], ["i/n", "--shard=0/0"]),
        (
            ["--images=.", "--out=d/", "--engine=ray", "--shard=0/2"],
            ["--engine=local", "--shard=0/2"],
        ),
        (["--images=.", "--shard=0/2"], ["a folder for parts", "one table"]),
        (["--images=.", "--engine=ray"], ["a folder for parts", "one table"]),
        (["--images=.", "--part_size=9"], ["--part_size", "--out=DIR/"]),
        (["--images=.", "--out=d/", "--workers=2"], ["--engine=ray"]),
        (["--images=.", "--out=d/", "--engine=beam"], ["--engine=beam"]),
        (["--images=no", "--out=d/"], ["images must be", "'no'"]),
        (["--data=shapes", "--out=d/"], ["--data=shapes needs --split"]),
    ],
)
def test_mistakes(command, savedmodel, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    given = [f"--savedmodel={savedmodel}", "--out=vectors.parquet", *arguments]
    assert_refused(command("embed", *given), *parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["savedmodel", "out"])
def test_flags_that_are_needed(command, missing):
    given = {"savedmodel": "a", "out": "b.parquet", "images": "c"}
    given.pop(missing)
    flags = [f"--{name}={value}" for name, value in given.items()]
    assert_refused(command("embed", *flags), f"--{missing}")
