"""An export in a Keras model, in TensorFlow Hub's style, and in tables."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from minc_tf import evaluation
from minc_tf.export import export_savedmodel, load_savedmodel

from .tiny import DIM, FEATURES, SHAPE, make_model


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The version folder of an export."""
    keras.utils.set_random_seed(0)
    model = make_model()
    images = keras.random.uniform((16, *SHAPE), 0, 255)
    model.encoder(images, training=True)  # statistics other than at the start
    return export_savedmodel(
        model, tmp_path_factory.mktemp("export"), image_shape=SHAPE
    )


@pytest.fixture(scope="module")
def images():
    """Images of two kinds, dark and light, and which is which."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    pixels = (
        rng.uniform(0, 60, (40, *SHAPE)) + 180 * labels[:, None, None, None]
    )
    return pixels.astype("float32"), labels


@pytest.mark.parametrize(
    "endpoint, dim", [("features", FEATURES), ("embedding", DIM)]
)
def test_layer_of_keras(path, images, endpoint, dim):
    layer = keras.layers.TFSMLayer(path, call_endpoint=endpoint)
    found = layer(images[0])[endpoint]
    assert found.shape == (40, dim)
    expected = load_savedmodel(path).signature(endpoint)(images[0])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_layer_in_a_model_stays_what_it_was(path, images):
    pixels, labels = images
    layer = keras.layers.TFSMLayer(path, call_endpoint="features")
    layer.trainable = False
    inputs = keras.Input(SHAPE)
    head = keras.layers.Dense(2)
    model = keras.Model(inputs, head(layer(inputs)["features"]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    assert {id(w) for w in model.trainable_variables} == {
        id(w) for w in head.trainable_variables
    }
    before = layer(pixels)["features"].numpy()
    first, *_, last = model.fit(
        pixels, labels, batch_size=10, epochs=5, verbose=0
    ).history["loss"]
    assert last < first
    np.testing.assert_array_equal(layer(pixels)["features"], before)


def test_reusable_model_trains(path, images):
    pixels, _ = images
    encoder = tf.saved_model.load(path)
    before = encoder(pixels)
    np.testing.assert_allclose(
        before, load_savedmodel(path).signature("features")(pixels), rtol=1e-5
    )
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(encoder(pixels, training=True) ** 2)
    weights = encoder.trainable_variables
    gradients = tape.gradient(value, weights)
    assert weights and all(g is not None for g in gradients)
    for variable, gradient in zip(weights, gradients, strict=True):
        variable.assign_sub(0.1 * gradient)
    assert np.abs(encoder(pixels) - before).max() > 1e-3


def test_pipeline_of_sklearn(path, images):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    encode = load_savedmodel(path).encoder_function()
    pipeline = make_pipeline(
        FunctionTransformer(lambda pixels: encode(pixels).numpy()),
        StandardScaler(),
        LogisticRegression(),
    )
    pixels, labels = images
    pipeline.fit(pixels[:20], labels[:20])
    assert pipeline.score(pixels[20:], labels[20:]) == 1.0
    assert pipeline[:-1].transform(pixels).shape == (40, FEATURES)


@pytest.fixture(scope="module")
def table(path, tmp_path_factory):
    """The table of vectors of 40 files, and its vectors as an array."""
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    for index in range(40):
        pixels = rng.integers(0, 256, SHAPE, np.uint8)
        name = str(folder / "photos" / f"{index:02}.png")
        tf.io.write_file(name, tf.io.encode_png(pixels))
    out = folder / "vectors.parquet"
    evaluation.embed_images(path, folder / "photos", out, verbose=0)
    found = pq.read_table(out)
    vectors = found["vector"].combine_chunks().flatten().to_numpy()
    return found, vectors.reshape(len(found), -1)


def test_table_in_pandas(table):
    pytest.importorskip("pandas")
    found, vectors = table
    frame = found.to_pandas()
    assert list(frame["path"]) == [f"{index:02}.png" for index in range(40)]
    np.testing.assert_array_equal(np.stack(frame["vector"]), vectors)


def test_table_in_faiss(table):
    """The order of cosines is that of a product of all with all."""
    faiss = pytest.importorskip("faiss")
    units = table[1].copy()
    faiss.normalize_L2(units)
    index = faiss.IndexFlatIP(units.shape[1])
    index.add(units)
    cosines, rows = index.search(units, 3)
    np.testing.assert_array_equal(rows[:, 0], np.arange(40))
    expected = -np.sort(-(units @ units.T), axis=1)[:, :3]
    np.testing.assert_allclose(cosines, expected, rtol=1e-5)


def test_arrays_of_the_table_go_into_the_protocols(table):
    from sklearn.neighbors import KNeighborsClassifier

    _, vectors = table
    labels = np.arange(40) % 4
    found = evaluation.knn_predict(vectors, labels, vectors, k=1)
    other = KNeighborsClassifier(1, metric="cosine").fit(vectors, labels)
    np.testing.assert_array_equal(found, other.predict(vectors))
