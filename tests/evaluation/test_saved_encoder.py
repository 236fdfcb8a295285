"""SavedModels that are damaged, or that somebody else wrote."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from minc_tf.data import ArraySource
from minc_tf.evaluation import evaluate_savedmodel, extract, load_savedmodel
from minc_tf.export import export_savedmodel

from .conftest import DIM, SHAPE, make_batches, make_model

DATA = "variables/variables.data-00000-of-00001"
IMAGES = tf.TensorSpec((None, *SHAPE), tf.float32, "x")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return export_savedmodel(make_model(), tmp_path_factory.mktemp("whole"))


@pytest.fixture
def copy(whole, tmp_path):
    return pathlib.Path(shutil.copytree(whole, tmp_path / "copy"))


def manifest(folder):
    return folder / "assets.extra" / "manifest.json"


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("saved_model.pb", 0),
        ("saved_model.pb", 0.5),
        (DATA, 0.5),
        ("variables/variables.index", 0.5),
    ],
)
def test_files_that_were_cut_off(copy, file, part):
    contents = (copy / file).read_bytes()
    (copy / file).write_bytes(contents[: int(part * len(contents))])
    with pytest.raises(ValueError, match=r"copy' is damaged or no") as caught:
        load_savedmodel(copy)
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [DATA, "variables"])
def test_files_that_are_gone(copy, name):
    gone = copy / name
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with pytest.raises(ValueError, match="copy' is damaged or no SavedModel"):
        load_savedmodel(copy)


@pytest.mark.parametrize("text", ["{", "[]", '{"recipe": 3}', "\udcff"])
def test_manifests_that_are_none(copy, text):
    contents = text.encode(errors="surrogateescape")
    manifest(copy).write_bytes(contents)
    with pytest.raises(ValueError, match=r"the manifest of .*copy' must be"):
        load_savedmodel(copy)


def test_manifest_of_before(copy):
    old = json.loads(manifest(copy).read_text())
    del old["recipe"]
    manifest(copy).write_text(json.dumps(old))
    assert load_savedmodel(copy).manifest == old


def test_length_of_the_vectors(whole):
    encoder = load_savedmodel(whole)
    assert encoder.dim("features") == encoder.encoder_dim("features") == 8
    assert encoder.dim("embedding") == DIM
    assert encoder.encoder_dim("embedding") == DIM - 1  # not the constant
    images = ArraySource(np.zeros((4, *SHAPE), "uint8"), np.arange(4) % 2)
    with pytest.raises(ValueError, match=f"at most {DIM - 1}, .*received 5"):
        evaluate_savedmodel(
            encoder,
            images,
            images,
            protocols=["knn"],
            k=1,
            output="embedding",
            dims=[DIM],
        )


def mean(x):
    return tf.reduce_mean(x, (1, 2))


def save(path, function, *specs):
    module = tf.Module()
    module.scale = tf.Variable(tf.ones(3))
    module.serve = tf.function(function, specs, autograph=False)
    tf.saved_model.save(module, path, {"serve": module.serve})
    return path


@pytest.mark.parametrize(
    ("function", "specs", "part"),
    [
        (
            lambda x, y: {"z": mean(x) + y},
            (IMAGES, tf.TensorSpec((3,), tf.float32, "y")),
            "inputs x: float32 (None, 4, 4, 3), y: float32 (3,)",
        ),
        (
            lambda x: {"z": tf.strings.to_number(x)[:, None]},
            (tf.TensorSpec((None,), tf.string, "x"),),
            "inputs x: string (None,)",
        ),
        (
            lambda x: {"z": mean(x)},
            (tf.TensorSpec((1, *SHAPE), tf.float32, "x"),),
            "inputs x: float32 (1, 4, 4, 3)",
        ),
        (
            lambda x: {"z": tf.argmax(x, -1)[:, 0]},
            (IMAGES,),
            "outputs z: int64 (None, 4)",
        ),
        (
            lambda x: {"z": tf.reduce_mean(x, -1)},
            (IMAGES,),
            "outputs z: float32 (None, 4, 4)",
        ),
        (
            lambda x: {"z": tf.reduce_mean(x, (0, 1))[:1]},
            (IMAGES,),
            "outputs z: float32 (1, 3)",
        ),
        (
            lambda x: {"a": mean(x), "b": mean(x)},
            (IMAGES,),
            "outputs a: float32 (None, 3), b: float32 (None, 3)",
        ),
    ],
    ids=["inputs", "text", "single", "ints", "maps", "batch", "outputs"],
)
def test_signatures_that_make_no_vectors(tmp_path, function, specs, part):
    path = save(tmp_path / "foreign", function, *specs)
    with pytest.raises(
        ValueError, match=f"signature 'serve' of .*foreign.*{re.escape(part)}"
    ):
        extract(path, make_batches(), "serve")


def test_no_signatures(tmp_path):
    tf.saved_model.save(tf.Module(), tmp_path / "foreign")
    with pytest.raises(ValueError, match=r"signatures; received .*foreign'"):
        load_savedmodel(tmp_path / "foreign")


@pytest.mark.parametrize("protocol", ["finetune", "semi"])
def test_foreign_models_are_not_trained(tmp_path, protocol):
    path = save(tmp_path / "foreign", lambda x: {"z": mean(x)}, IMAGES)
    images = ArraySource(np.zeros((4, *SHAPE), "uint8"), np.arange(4) % 2)
    with pytest.raises(ValueError, match=r"can be trained.*foreign'") as caught:
        evaluate_savedmodel(
            path, images, images, protocols=[protocol], output="serve"
        )
    assert "serving_default" not in str(caught.value)


@pytest.fixture(scope="module")
def ranged(whole, tmp_path_factory):
    """Paths of exports of one model, for images of three ranges."""
    found = {(0, 255): whole}
    for value_range in ((0, 1), (-1, 1)):
        folder = tmp_path_factory.mktemp("ranged")
        found[value_range] = export_savedmodel(
            make_model(), folder, value_range=value_range
        )
    return found


def test_exports_for_other_ranges_are_evaluated_alike(ranged):
    """Data sources give 0..255, whatever the signatures take."""
    x = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), np.uint8)
    plain = load_savedmodel(ranged[0, 255])
    for value_range, path in ranged.items():
        encoder = load_savedmodel(path)
        assert encoder.value_range == value_range
        low, high = value_range
        views = (low + x / 255 * (high - low)).astype("float32")
        loaded = tf.saved_model.load(path)
        for name in ("features", "embedding"):
            wanted = plain.signature(name)(x)
            found = loaded.signatures[name](images=views)[name]
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
            for images in (x, tf.constant(x, tf.float32)):
                np.testing.assert_allclose(
                    encoder.signature(name)(images),
                    wanted,
                    rtol=1e-4,
                    atol=1e-5,
                )
        for serve in ("serve_images", "serve_views"):
            np.testing.assert_allclose(
                encoder.signature(serve, "features")(x),
                plain.signature("features")(x),
                rtol=1e-4,
                atol=1e-5,
            )
        network, usual = encoder.trainable(), plain.trainable()
        images = tf.constant(x, tf.float32)
        for training in (False, True):
            np.testing.assert_allclose(
                network(images, training=training),
                usual(images, training=training),
                rtol=1e-3,
                atol=1e-4,
            )
        for a, b in zip(network.variables, usual.variables, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
        assert len(network.trainable_variables) == len(
            usual.trainable_variables
        )


@pytest.mark.parametrize(
    "value", [[0], "01", [1, 0], [0, None], [0, float("nan")], {"a": 1}]
)
def test_manifest_with_a_range_that_is_none(copy, value):
    read = json.loads(manifest(copy).read_text())
    read["preprocessing"]["pixel_range"] = value
    manifest(copy).write_text(json.dumps(read))
    with pytest.raises(ValueError, match=r"preprocessing.pixel_range") as error:
        load_savedmodel(copy)
    assert "\n" not in str(error.value)


def test_manifest_without_a_range(copy):
    read = json.loads(manifest(copy).read_text())
    del read["preprocessing"], read["signatures"]
    manifest(copy).write_text(json.dumps(read))
    assert load_savedmodel(copy).value_range == (0, 255)
