"""Which coordinates of the embedding are served, and how."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from minc_tf._layers import is_centred
from minc_tf.export import SavedEncoder, export_savedmodel, read_manifest
from minc_tf.export.served import served_embedding

from .tiny import DIM, SHAPE, Ordering, make_model, make_projector


def coordinates(model, x):
    """All coordinates in NumPy: projected, rotated."""
    z = model.projector(model.encoder(x, training=False), training=False)
    if model.objective.triangular:
        return z.numpy()
    return z.numpy() @ model.objective.rotation().numpy()


@pytest.mark.parametrize("triangular", [True, False])
@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, DIM - 1),
        ({"dims": 2}, 2),
        ({"dims": DIM - 1, "whiten": True}, DIM - 1),
        ({"normalize": True}, DIM - 1),
        ({"dims": 3, "whiten": True, "normalize": True}, 3),
    ],
    ids=["all", "dims", "whiten", "normalize", "together"],
)
def test_against_numpy(triangular, options, count):
    model = make_model(objective=Ordering(triangular))
    options = {"dims": None, "whiten": False, "normalize": False, **options}
    served = served_embedding(model, **options)
    x = np.random.default_rng(0).uniform(0, 255, (4, *SHAPE)).astype("float32")
    features = model.encoder(x, training=False)
    found = served.select(served.project(features))

    wanted = coordinates(model, x)[:, 1 : 1 + count]
    moment = model.objective.second_moment.astype("float64")
    values = np.linalg.eigvalsh(moment)[::-1]
    if triangular:
        values = np.diagonal(moment)
    if options["whiten"]:
        wanted = wanted / np.sqrt(values[1 : 1 + count])
    if options["normalize"]:
        wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert served.names(DIM) == [f"embedding_{i + 1}" for i in range(count)]
    assert served.manifest(DIM)["dim"] == count


@pytest.mark.parametrize("triangular", [True, False])
def test_no_coordinate_is_constant_after_batch_normalisation(
    triangular, tmp_path
):
    """It takes the mean out: then the first coordinate is served, too."""
    layer = keras.layers.BatchNormalization(center=False, scale=False)
    projector = make_projector(tail=[layer])
    model = make_model(objective=Ordering(triangular), projector=projector)
    x = np.random.default_rng(0).uniform(0, 255, (3, *SHAPE)).astype("float32")
    wanted = coordinates(model, x)
    path = export_savedmodel(model, tmp_path, dims=DIM)
    encoder = SavedEncoder(path)
    assert encoder.encoder_dim("embedding") == DIM
    for as_served in (True, False):
        found = encoder.encoder_function("embedding", as_served=as_served)(x)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    manifest = read_manifest(path)
    assert manifest["served_embedding"]["constant_dropped"] is False
    assert manifest["dimension_names"]["embedding"][0] == "embedding_0"
    # An offset can carry it again.
    assert not is_centred(
        make_projector(tail=[keras.layers.BatchNormalization()])
    )


def test_whitened_coordinates_have_unit_second_moment():
    """Of embeddings whose second moment is the one that MINC estimated."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(64, DIM)).astype("float32")
    model = make_model(objective=Ordering(triangular=False))
    model.objective.second_moment = z.T @ z / len(z)
    served = served_embedding(model, dims=None, whiten=True, normalize=False)
    rotated = z @ model.objective.rotation().numpy()
    found = served.select(tf.constant(rotated)).numpy()
    np.testing.assert_allclose(
        found.T @ found / len(z), np.eye(DIM - 1), atol=1e-4
    )


def test_a_vector_of_zeros_stays_one():
    model = make_model(objective=Ordering(triangular=True))
    served = served_embedding(model, dims=None, whiten=False, normalize=True)
    np.testing.assert_array_equal(served.select(tf.zeros((2, DIM))), 0.0)


def test_without_an_order_all_coordinates_are_served():
    model = make_model()
    options = {"dims": None, "whiten": False, "normalize": False}
    served = served_embedding(model, **options)
    assert served.names(DIM) == [f"embedding_{i}" for i in range(DIM)]
    for option in ({"dims": 2}, {"whiten": True}):
        name = next(iter(option))
        with pytest.raises(ValueError, match=f"{name} must be .* without"):
            served_embedding(model, **{**options, **option})
    # Behind a predictor it is the predictions that MINC orders.
    model = make_model(objective=Ordering(triangular=True))
    model.predictor = object()
    assert not served_embedding(model, **options).ordered


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dims": 0}, ValueError, r"dims must be in 1 to 4, .*received 0"),
        ({"dims": DIM}, ValueError, r"dims must be in 1 to 4, .*received 5"),
        ({"dims": 2.0}, TypeError, r"dims must be an int or None.*2\.0"),
        ({"dims": True}, TypeError, "dims must be an int"),
        ({"whiten": 1}, TypeError, "whiten must be a bool; received 1"),
        ({"normalize": "l2"}, TypeError, "normalize must be a bool"),
        ({"max_pixels": 0}, ValueError, r"max_pixels must be an int in \[1"),
        (
            {"max_pixels": 2**40},
            ValueError,
            r"max_pixels must be an int in \[1",
        ),
        ({"max_pixels": "big"}, TypeError, "max_pixels must be an int"),
        (
            {"serving_default": "b64"},
            ValueError,
            "one of 'bytes', .*b64",
        ),
        ({"data_licence": 4}, TypeError, "data_licence must be a str"),
        ({"evaluation": {}}, TypeError, "evaluation must be a list"),
        ({"evaluation": [np.inf]}, TypeError, "JSON can hold"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_wrong_options(tmp_path, options, error, message):
    model = make_model(objective=Ordering(triangular=True))
    with pytest.raises(error, match=message) as caught:
        export_savedmodel(model, tmp_path, **options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_eigenvalues_that_are_too_small():
    model = make_model(objective=Ordering(triangular=True))
    model.objective.second_moment = np.diag([1, 0.5, 0.2, 1e-9, 0])
    options = {"whiten": True, "normalize": False}
    with pytest.raises(ValueError, match=r"dims at most 2; .*3 is 1e-09"):
        served_embedding(model, dims=None, **options)
    served_embedding(model, dims=2, **options)


def test_served_by_the_savedmodel(tmp_path):
    model = make_model(objective=Ordering(triangular=False))
    path = export_savedmodel(
        model,
        tmp_path,
        dims=2,
        normalize=True,
        serving_default="views",
    )
    x = np.random.default_rng(0).uniform(0, 255, (3, *SHAPE)).astype("float32")
    signatures = tf.saved_model.load(path).signatures
    wanted = coordinates(model, x)[:, 1:3]
    wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    for name in ("serving_default", "serve_views"):
        found = signatures[name](images=x)["embedding"]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    # Evaluation sees all coordinates.
    found = signatures["embedding"](images=x)["embedding"]
    np.testing.assert_allclose(found, coordinates(model, x), atol=1e-5)
    assert read_manifest(path)["served_embedding"] == {
        "dim": 2,
        "whiten": False,
        "normalize": True,
        "constant_dropped": True,
    }
