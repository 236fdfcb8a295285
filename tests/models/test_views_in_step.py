"""A model that makes the views of its images in its steps."""

import keras
import numpy as np
import pytest
from keras import ops

import minc_tf
from minc_tf.augment import TwoViews, presets
from models import tiny


def images(count=16):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 20, 20, 3)).astype(np.uint8)


def make_model(**arguments):
    keras.utils.set_random_seed(0)
    model = minc_tf.build(
        "minc",
        minc_tf.models.small_resnet(image_shape=(16, 16, 3), filters=(4,)),
        projector_widths=(16, 4),
        views=TwoViews(presets.simclr(16, blur=False), 16, seed=1),
        **arguments,
    )
    model.compile(keras.optimizers.SGD(0.01), **tiny.EAGER)
    return model


def fit(model, epochs=1):
    history = model.fit(
        images(), batch_size=8, epochs=epochs, shuffle=False, verbose=0
    )
    return history.history["loss"]


def drawn(model):
    return ops.convert_to_numpy(model.views.seed_generator.state).tolist()


@pytest.fixture(scope="module")
def model():
    made = make_model()
    made.losses_of_fit = fit(made, epochs=2)
    return made


def test_each_step_draws_views(model):
    assert np.isfinite(model.losses_of_fit).all()
    assert drawn(model) == [1, 4]


def test_a_step_is_that_of_the_views():
    """The same as of a model that is given what the layer makes.

    Pairs of views are taken as they are: nothing is drawn for them.
    """
    layer = TwoViews(presets.simclr(16, blur=False), 16, seed=1)
    given, model = make_model(), make_model()
    for start in range(0, 16, 8):
        batch = images()[start : start + 8]
        given.train_on_batch(*map(ops.convert_to_numpy, layer(batch)))
        model.train_on_batch(batch)
    assert (drawn(given), drawn(model)) == ([1, 0], [1, 2])
    for ours, expected in zip(model.weights, given.weights, strict=True):
        np.testing.assert_allclose(
            *map(ops.convert_to_numpy, (ours, expected)),
            atol=1e-4,
            err_msg=ours.path,
        )


def test_evaluation_draws_and_updates_nothing(model):
    before = drawn(model)
    first, again = (
        model.evaluate(images(), batch_size=8, verbose=0, return_dict=True)
        for _ in range(2)
    )
    assert first == again
    assert drawn(model) == before


def test_views_and_their_state_are_saved(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.run_eagerly = model.run_eagerly
    assert loaded.views.configs == model.views.configs
    assert drawn(loaded) == drawn(model)
    assert fit(loaded) == fit(model)


def test_micro_batches_share_the_views():
    model = make_model(micro_batches=2)
    assert np.isfinite(fit(model)).all()
    assert drawn(model) == [1, 2]
