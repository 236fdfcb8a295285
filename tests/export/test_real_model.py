"""Export of the library's own models."""

import keras
import numpy as np
import tensorflow as tf

import minc_tf
from minc_tf.export import export_savedmodel, read_manifest


def trained(objective, policy=None):
    if policy:
        keras.config.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(0)
        encoder = minc_tf.models.small_resnet(
            image_shape=(16, 16, 3), filters=(4, 8)
        )
        projector = minc_tf.models.mlp(encoder.output_shape[-1], (16, 6))
        model = minc_tf.models.MINCModel(
            encoder, projector, objective=objective
        )
        model.compile("adam", run_eagerly=True)
        views = np.random.default_rng(0).uniform(0, 255, (2, 32, 16, 16, 3))
        model.fit(*views.astype("float32"), batch_size=16, verbose=0)
    finally:
        if policy:
            keras.config.set_dtype_policy("float32")
    return model


def test_minc_model(tmp_path):
    objective = minc_tf.objectives.MINC(dim=6, triangular=False, mu=None)
    model = trained(objective)
    before = [w.copy() for w in model.get_weights()]
    path = export_savedmodel(model, tmp_path)
    served = tf.saved_model.load(path).signatures
    x = np.random.default_rng(1).integers(0, 256, (5, 16, 16, 3))
    x = tf.constant(x, tf.float32)
    features = model.encoder(x, training=False)
    expected = keras.ops.convert_to_numpy(model(x, training=False))
    moment = keras.ops.convert_to_numpy(objective.second_moment)
    expected = expected @ np.asarray(objective.rotation())
    eigenvalues = np.linalg.eigvalsh(moment)[::-1]
    np.testing.assert_allclose(
        served["features"](images=x)["features"], features, atol=1e-5
    )
    np.testing.assert_allclose(
        served["embedding"](images=x)["embedding"], expected, atol=1e-5
    )
    manifest = read_manifest(path)
    assert manifest["objective"] == "MINC"
    assert manifest["image_shape"] == [16, 16, 3]
    assert manifest["embedding_ordered"] is True
    np.testing.assert_allclose(
        manifest["eigenvalues"], eigenvalues, rtol=1e-4, atol=1e-5
    )
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_spectral_model_in_bfloat16(tmp_path):
    objective = minc_tf.objectives.SpectralContrastive()
    model = trained(objective, "mixed_bfloat16")
    path = export_savedmodel(model, tmp_path)
    assert read_manifest(path)["embedding_ordered"] is False
    signatures = tf.saved_model.load(path).signatures
    x = tf.fill((2, 16, 16, 3), 100.0)
    for name in ("features", "embedding"):
        found = signatures[name](images=x)[name]
        assert found.dtype == tf.float32
        assert np.isfinite(found).all()
