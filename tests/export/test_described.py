"""What an export tells of itself: manifest, model card, warm-up requests."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from minc_tf.export import export_savedmodel, read_manifest

from .tiny import DIM, FEATURES, SHAPE, Ordering, make_model

RECIPE = {"epochs": 3, "data": {"name": "cifar10"}, "seed": 0}
EVALUATION = [{"output": "features", "results": {"linear_accuracy": 0.625}}]


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """The path of an export with all that can be told of it."""
    return export_savedmodel(
        make_model(objective=Ordering(triangular=False)),
        tmp_path_factory.mktemp("described") / "cats|dogs",
        dims=3,
        recipe=RECIPE,
        evaluation=EVALUATION,
        data_licence="CC BY 4.0",
    )


def test_manifest(described, tmp_path):
    manifest = read_manifest(described)
    assert manifest["image_shape"] == list(SHAPE)
    assert manifest["features_dim"] == FEATURES
    assert manifest["embedding_dim"] == DIM
    assert manifest["objective"] == "Ordering"
    assert set(manifest["versions"]) == {"minc_tf", "keras", "tensorflow"}
    np.testing.assert_allclose(
        manifest["eigenvalues"],
        np.linalg.eigvalsh(Ordering(triangular=False).second_moment)[::-1],
        rtol=1e-4,
        atol=1e-6,
    )
    names = manifest["dimension_names"]
    assert names["features"] == [f"feature_{i}" for i in range(FEATURES)]
    assert names["embedding"] == ["embedding_1", "embedding_2", "embedding_3"]
    assert manifest["recipe"] == RECIPE
    assert manifest["evaluation"] == EVALUATION
    assert manifest["data_licence"] == "CC BY 4.0"
    assert manifest["preprocessing"]["size"] == list(SHAPE[:2])
    assert manifest["preprocessing"]["max_pixels"] == 2**25
    checkout = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"],
        cwd=os.path.dirname(__file__),
        capture_output=True,
        text=True,
        check=False,
    )
    if checkout.returncode == 0:
        assert manifest["commit"].startswith(checkout.stdout.strip())
    export_savedmodel(make_model(), tmp_path)
    assert read_manifest(tmp_path)["embedding_ordered"] is False
    assert read_manifest(tmp_path)["eigenvalues"] is None


def test_model_card(described, tmp_path):
    with open(os.path.join(described, "assets.extra/model_card.md")) as file:
        card = file.read()
    assert card.startswith("# cats\\|dogs\n")
    for text in (
        "| `serving_default` | `image_bytes`: string (batch) | "
        "`embedding`: float32 (batch, 3), `features`: float32 (batch, 6) |",
        "| `serve_images` | `images`: uint8 (batch, any, any, 3) |",
        "| images | cifar10 |",
        "| linear_accuracy | 0.625 | features |",
        "Licence of the training images: CC BY 4.0.",
        "3 of all 5 coordinates",
    ):
        assert text in card
    path = export_savedmodel(make_model(), tmp_path)
    with open(os.path.join(path, "assets.extra/model_card.md")) as file:
        card = file.read()
    for text in ("are not known", "images: not stated", "Not evaluated"):
        assert text in card
    assert "eigenvalue" not in card


def test_warm_up_requests_run(described):
    signatures = tf.saved_model.load(described).signatures
    path = os.path.join(described, "assets.extra/tf_serving_warmup_requests")
    batches = []
    for record in tf.data.TFRecordDataset(path):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        name = request.model_spec.signature_name
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        found = signatures[name](
            **{k: tf.constant(v) for k, v in inputs.items()}
        )
        batch = len(next(iter(inputs.values())))
        for values in found.values():
            assert len(values) == batch
            assert np.isfinite(values).all()
        batches.append((name, batch))
    assert {name for name, _ in batches} == set(signatures)
    for name in ("serving_default", "serve_bytes"):
        assert {(name, 1), (name, 8)} <= set(batches)


def test_saved_model_cli(described, tmp_path):
    """TensorFlow's own command gives what the loaded model gives."""
    png = tf.io.encode_png(np.full((9, 7, 3), 70, "uint8")).numpy()
    np.save(tmp_path / "x.npy", np.array([png, png]))
    command = os.path.join(os.path.dirname(sys.executable), "saved_model_cli")
    subprocess.run(
        [
            *(command, "run", "--dir", described, "--tag_set", "serve"),
            *("--signature_def", "serving_default", "--outdir", tmp_path),
            *("--inputs", f"image_bytes={tmp_path}/x.npy"),
        ],
        check=True,
        capture_output=True,
    )
    wanted = tf.saved_model.load(described).signatures["serving_default"](
        image_bytes=tf.constant([png, png])
    )
    for name, values in wanted.items():
        found = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_allclose(found, values, atol=1e-5)


def test_manifest_of_other_savedmodels(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    assert read_manifest(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="path must be"):
        read_manifest(tmp_path / "nowhere")


@pytest.mark.parametrize("value_range", [(0, 255), (-1.5, 0.5)])
def test_range_of_float_images(tmp_path, value_range):
    """Is in the manifest, the model card and the warm-up requests."""
    low, high = value_range
    path = export_savedmodel(make_model(), tmp_path, value_range=value_range)
    manifest = read_manifest(path)
    assert manifest["preprocessing"]["pixel_range"] == [low, high]
    views = {
        "dtype": "float32",
        "shape": [None, *SHAPE],
        "value_range": [low, high],
    }
    uint8 = {
        "dtype": "uint8",
        "shape": [None, None, None, 3],
        "value_range": [0, 255],
    }
    files = {"image_bytes": {"dtype": "string", "shape": [None]}}
    assert manifest["signatures"] == {
        "features": {"images": views},
        "embedding": {"images": views},
        "serve_views": {"images": views},
        "serve_images": {"images": uint8},
        "serve_bytes": files,
        "serving_default": files,
    }
    with open(os.path.join(path, "assets.extra/model_card.md")) as file:
        card = " ".join(file.read().split())
    assert f"values from {low}, black, to {high}, white" in card
    warmup = os.path.join(path, "assets.extra/tf_serving_warmup_requests")
    grey = {}
    for record in tf.data.TFRecordDataset(warmup):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        if "images" in request.inputs:
            values = tf.make_ndarray(request.inputs["images"])
            grey[request.model_spec.signature_name] = values
    assert (grey["serve_images"] == 128).all()
    for name in ("features", "embedding", "serve_views"):
        wanted = low + (high - low) * 128 / 255
        np.testing.assert_allclose(grey[name], wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("value_range", "error"),
    [
        ((0,), TypeError),
        ("01", TypeError),
        ((0, "1"), TypeError),
        ((False, True), TypeError),
        (255, TypeError),
        ((1, 0), ValueError),
        ((1, 1), ValueError),
        ((0, np.inf), ValueError),
        ((np.nan, 1), ValueError),
        ((0, 10**400), ValueError),
    ],
    ids=str,
)
def test_wrong_range(tmp_path, value_range, error):
    with pytest.raises(error, match="value_range must be two") as caught:
        export_savedmodel(make_model(), tmp_path, value_range=value_range)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
