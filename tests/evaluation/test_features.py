"""Features out of SavedModels, live encoders and pixels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from minc_tf.evaluation import (
    encoder_function,
    extract,
    load_savedmodel,
    raw_pixels,
)

from .conftest import SHAPE, make_batches


def stacked(batches, key):
    return np.concatenate([b[key].numpy() for b in batches])


def test_savedmodel_equals_the_keras_model(model, exported):
    batches = make_batches()
    images = stacked(batches, "image").astype("float32")
    features = keras.ops.convert_to_numpy(model.encoder(images))
    x, y = extract(exported, batches)
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    np.testing.assert_allclose(x, features, atol=1e-5)
    np.testing.assert_array_equal(y, stacked(batches, "label"))
    np.testing.assert_allclose(
        extract(model.encoder, batches)[0], features, atol=1e-5
    )
    z, _ = extract(exported, batches, "embedding")
    np.testing.assert_allclose(z, model.projector(features), atol=1e-5)


def test_path_means_the_latest_version(exported, model):
    from minc_tf.export import export_savedmodel

    parent = exported.removesuffix("/1")
    model.encoder.layers[-1].bias.assign_add(np.ones(8))
    latest = export_savedmodel(model, parent)
    assert load_savedmodel(parent).path == latest
    batches = make_batches()
    old, new, found = (
        extract(p, batches)[0] for p in (exported, latest, parent)
    )
    np.testing.assert_array_equal(found, new)
    np.testing.assert_allclose(new, old + 1, atol=1e-5)


def test_loaded_encoder(exported):
    encoder = load_savedmodel(exported)
    assert set(encoder.signatures) >= {"embedding", "features"}
    assert encoder.image_shape() == tf.TensorShape(SHAPE)
    assert encoder.manifest["features_dim"] == 8
    batches = make_batches()
    np.testing.assert_array_equal(
        extract(encoder, batches)[0], extract(exported, batches)[0]
    )
    with pytest.raises(ValueError, match=r"numbers.* image_bytes: string"):
        extract(encoder, batches, "serving_default")
    with pytest.raises(ValueError, match=r"outputs embedding: .* features: "):
        extract(encoder, batches, "serve_views")
    # The function works although the encoder itself is out of sight.
    encode = load_savedmodel(exported).signature("features")
    assert encode(np.zeros((2, *SHAPE), "uint8")).shape == (2, 8)


def test_live_encoder_follows_the_weights_without_a_new_trace(model):
    encode = encoder_function(model.encoder)
    batches = make_batches()
    before, _ = extract(encode, batches)
    model.encoder.layers[-1].bias.assign_add(np.full(8, 2.0))
    after, _ = extract(encode, batches)
    np.testing.assert_allclose(after, before + 2, atol=1e-5)


def test_raw_pixels():
    batches = make_batches()
    x, y = raw_pixels(batches)
    images = stacked(batches, "image")
    np.testing.assert_array_equal(x, images.reshape(len(images), -1))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(y, stacked(batches, "label"))


def test_progress_bar(exported, capsys):
    for batches in (make_batches(), make_batches().filter(lambda b: True)):
        extract(exported, batches, verbose=1)
        assert "4/4" in capsys.readouterr().out.splitlines()[-1]
    extract(exported, make_batches())
    assert not capsys.readouterr().out


def test_wrong_signature(exported, model):
    with pytest.raises(
        ValueError,
        match=r"one of embedding, features, .*; received 'logits'",
    ):
        extract(exported, make_batches(), "logits")
    with pytest.raises(ValueError, match="'features' for a live encoder"):
        extract(model.encoder, make_batches(), "embedding")


def test_wrong_image_shape(exported, model):
    batches = make_batches(shape=(5, 4, 3))
    for source in (exported, model.encoder):
        with pytest.raises(
            ValueError, match=r"shape \(4, 4, 3\), .*received \(5, 4, 3\)"
        ):
            extract(source, batches)


def test_not_finite_features(model):
    kernel = model.encoder.layers[-1].kernel
    values = kernel.numpy()
    values[:, 3] = np.nan
    kernel.assign(values)
    with pytest.raises(
        ValueError, match=r"features must be .*60 NaN .* in 60 of 60 samples"
    ):
        extract(model.encoder, make_batches())


def test_bad_batches(model, exported):
    batches = make_batches()
    with pytest.raises(ValueError, match="repeats forever"):
        extract(exported, batches.repeat())
    with pytest.raises(ValueError, match="must hold images; received none"):
        extract(exported, batches.take(0))
    with pytest.raises(ValueError, match=r"dicts .*received \['image'\]"):
        extract(exported, batches.map(lambda b: {"image": b["image"]}))
    with pytest.raises(ValueError, match=r"dicts .*received tuple"):
        extract(exported, batches.map(lambda b: (b["image"], b["label"])))
    maps = keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"vectors .*\(16, 2, 2, 2\)"):
        extract(maps, batches)


def test_bad_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        extract(tmp_path / "missing", make_batches())
    with pytest.raises(TypeError, match=r"model_or_path .*received int"):
        extract(3, make_batches())


def test_a_savedmodel_from_elsewhere(tmp_path):
    class Mean(tf.Module):
        @tf.function(
            input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32, "x")]
        )
        def serve(self, x):
            return {"mean": tf.reduce_mean(x, (1, 2))}

    module = Mean()
    tf.saved_model.save(
        module, str(tmp_path / "1"), {"serving_default": module.serve}
    )
    x, _ = extract(tmp_path, make_batches(), "serving_default")
    images = stacked(make_batches(), "image")
    np.testing.assert_allclose(x, images.mean((1, 2)), rtol=1e-5)


def test_live_encoders_are_compiled_once_while_in_use(model):
    import gc
    import weakref

    encode = encoder_function(model.encoder)
    assert encoder_function(model.encoder) is encode
    other = keras.models.clone_model(model.encoder)
    assert encoder_function(other) is not encode
    image = np.full((1, *SHAPE), 7.0, "float32")
    model.encoder.layers[-1].bias.assign_add(np.ones(8))
    np.testing.assert_allclose(
        encode(image), model.encoder(image), rtol=1e-5, atol=1e-5
    )
    kept = weakref.ref(encode)
    del encode
    gc.collect()
    assert kept() is None
