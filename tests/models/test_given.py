"""What `fit` is given: what cannot work says so, what works is left alone."""

import functools
import itertools
import warnings

import keras
import numpy as np
import pytest
from gradients import BACKEND, needs_tensorflow

from minc_tf import TwoViewModel
from minc_tf.augment import TwoViews, presets
from minc_tf.objectives import SpectralContrastive
from models import tiny

LABELS = np.zeros(tiny.BATCH, "int64")


def making_views(value_range=(0, 255)):
    """A model that makes its views from images."""
    configs = presets.simclr(4, strength=0.5, blur=False)
    model = TwoViewModel(
        tiny.encoder(),
        tiny.linear(tiny.FEATURES, "projector"),
        tiny.objective("minc"),
        views=TwoViews(configs, size=4, seed=0),
        value_range=value_range,
    )
    model.compile(keras.optimizers.SGD(tiny.RATE), **tiny.EAGER)
    return model


def taking(value_range):
    """A model of two views of another range; always the same weights."""
    keras.utils.set_random_seed(1)
    model = TwoViewModel(
        tiny.encoder(),
        tiny.linear(tiny.FEATURES, "projector"),
        tiny.objective("minc"),
        value_range=value_range,
    )
    model.compile(keras.optimizers.SGD(tiny.RATE), **tiny.EAGER)
    return model


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None], np.eye(8)])
def test_labels_are_named(labels):
    image, model = tiny.views()[0], making_views()
    with pytest.raises(ValueError, match=r"fit: .*labels are not used"):
        model.fit(image, labels, verbose=0)
    for each in (model, tiny.build()):
        with pytest.raises(ValueError, match="labels are not used"):
            each.fit(tiny.batch_of((image, labels)), verbose=0)
    with pytest.raises(ValueError, match=r"validation_data: .*labels"):
        model.fit(image, validation_data=(image, labels), verbose=0)
    assert int(model.steps) == 0


def test_images_are_no_labels():
    image, model = tiny.views()[0], making_views()
    history = model.fit(image, validation_data=(image,), verbose=0).history
    assert np.isfinite(history["val_loss"]).all()


@pytest.mark.parametrize(
    "argument", [{"sample_weight": LABELS + 1.0}, {"class_weight": {0: 2.0}}]
)
def test_weights_of_samples_and_classes(argument):
    (name,) = argument
    with pytest.raises(ValueError, match=f"fit: {name} cannot be given"):
        tiny.build().fit(*tiny.views(), verbose=0, **argument)
    with pytest.raises(ValueError, match=f"train_on_batch: {name} cannot"):
        tiny.build().train_on_batch(*tiny.views(), **argument)


def test_validation_on_views():
    history = tiny.build().fit(
        *tiny.views(), validation_data=tiny.views(seed=1), verbose=0
    )
    assert np.isfinite(history.history["val_loss"][0])


@needs_tensorflow("of tf.data")
def test_a_data_set_without_an_end():
    endless = tiny.pipeline(tiny.views(3)).repeat()
    with pytest.raises(ValueError, match=r"fit: .*no end; pass steps_per_ep"):
        tiny.build().fit(endless, verbose=0)
    with pytest.raises(ValueError, match=r"evaluate: .*no end; pass steps"):
        tiny.build().evaluate(endless, verbose=0)
    with pytest.raises(ValueError, match="pass validation_steps"):
        tiny.build().fit(*tiny.views(), validation_data=endless, verbose=0)
    model = tiny.build()
    model.fit(endless, steps_per_epoch=2, verbose=0)
    assert int(model.steps) == 2


class Endless(keras.utils.PyDataset):
    num_batches = None

    def __getitem__(self, index):
        return tiny.views()


@needs_tensorflow("Keras gives both backends the same batches")
def test_a_py_dataset_without_an_end():
    with pytest.raises(ValueError, match="fit: the PyDataset has no length"):
        tiny.build().fit(Endless(), verbose=0)
    tiny.build().fit(Endless(), steps_per_epoch=2, verbose=0)


def forever():
    while True:
        yield tiny.views()


def forever_or_not():
    for _ in itertools.count():
        yield tiny.views()


@pytest.mark.parametrize(
    "make",
    [
        forever,
        lambda: (tiny.views() for _ in itertools.count()),
        lambda: (tiny.views(seed=i) for i in itertools.cycle([0, 1])),
        lambda: (views for views in itertools.repeat(tiny.views())),
    ],
    ids=["while True", "count", "cycle", "repeat"],
)
def test_a_generator_without_an_end(make):
    with pytest.raises(ValueError, match=r"fit: the generator has no end; pas"):
        tiny.build().fit(make(), verbose=0)
    with pytest.raises(ValueError, match=r"evaluate: .*no end; pass steps"):
        tiny.build().evaluate(make(), verbose=0)
    with pytest.raises(ValueError, match="pass validation_steps"):
        tiny.build().fit(*tiny.views(), validation_data=make(), verbose=0)


@needs_tensorflow("Keras gives both backends the same batches")
def test_a_generator_without_an_end_and_with_a_number_of_steps():
    model = tiny.build()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model.fit(
            forever_or_not(),
            steps_per_epoch=2,
            validation_data=forever(),
            validation_steps=1,
            verbose=0,
        )
    assert int(model.steps) == 2
    assert not [each for each in found if "generator ends" in str(each.message)]


@needs_tensorflow("Keras gives both backends the same batches")
def test_a_generator_of_which_nothing_is_known():
    def some():
        for _ in range(2):
            yield tiny.views()

    model = tiny.build()
    with pytest.warns(UserWarning, match=r"fit: .* ends cannot .*steps_per_ep"):
        model.fit(some(), verbose=0)
    with pytest.warns(UserWarning, match="Pass steps_per_epoch"):
        model.fit((each for each in some()), verbose=0)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for seeds in ([0, 1], (0, 1), range(2)):
            views = (tiny.views(seed=seed) for seed in seeds)
            model.fit(views, verbose=0)
    assert int(model.steps) > 0
    assert not [each for each in found if "generator ends" in str(each.message)]


@needs_tensorflow("of tf.data")
def test_what_view_batches_became_has_no_end_either():
    from minc_tf import data

    source = data.ArraySource(np.zeros((8, *tiny.SHAPE), "uint8"))
    batches = data.view_batches(source, lambda b: (b["images"],) * 2, 4)
    for changed in (batches.map(lambda *v: v), batches.prefetch(1)):
        with pytest.raises(ValueError, match="no end; pass steps_per_epoch"):
            tiny.build().fit(changed, verbose=0)
    with pytest.raises(ValueError, match="no end; pass steps_per_epoch"):
        making_views().fit(changed.map(lambda *v: v[0]), verbose=0)


@needs_tensorflow("image_dataset_from_directory reads with it")
def test_labels_of_a_directory(tmp_path):
    import tensorflow as tf

    for index, image in enumerate(tiny.views()[0].astype("uint8")):
        path = str(tmp_path / f"{'ab'[index % 2]}/{index}.png")
        tf.io.write_file(path, tf.io.encode_png(image))
    load = functools.partial(
        keras.utils.image_dataset_from_directory,
        tmp_path,
        image_size=tiny.SHAPE[:2],
        batch_size=tiny.BATCH,
        verbose=False,
    )
    plain, model = load(label_mode=None), making_views()
    for mode in ("int", "categorical", "binary"):
        labelled = load(label_mode=mode)
        for call in (model.fit, model.evaluate):
            with pytest.raises(ValueError, match="labels are not used"):
                call(labelled, verbose=0)
        with pytest.raises(ValueError, match=r"validation_data: .*labels are"):
            model.fit(plain, validation_data=labelled, verbose=0)
    # What the message says to do.
    images = labelled.map(lambda image, label: image)
    history = model.fit(images, validation_data=plain, verbose=0).history
    assert np.isfinite(history["val_loss"]).all()


@needs_tensorflow("of tf.data")
def test_a_batch_of_which_nothing_can_be_told():
    import tensorflow as tf

    image = tiny.views()[0]
    with pytest.raises(ValueError, match="received a dict of 'image'"):
        making_views().fit({"image": image}, verbose=0)
    unknown = tf.data.Dataset.from_generator(
        lambda: iter([image]), output_types=tf.float32
    )
    model = making_views()
    # Where images are seen, their shape is known.
    model.run_eagerly = False
    with pytest.raises(ValueError, match=r"the shape .* must be known"):
        model.fit(unknown, verbose=0)


@needs_tensorflow("of tf.data")
def test_an_epoch_of_view_batches_and_the_next_goes_on():
    import tensorflow as tf

    from minc_tf import data

    images = np.arange(20, dtype="uint8")[:, None, None, None]
    source = data.ArraySource(np.broadcast_to(images, (20, 4, 4, 3)).copy())
    seen = []

    def views(batch):
        image = tf.cast(batch["images"], "float32")
        tf.py_function(lambda x: seen.append(x.numpy()), [image], [])
        return image, image

    batches = data.view_batches(source, views, 6)
    assert batches.steps_per_epoch == 3
    model = tiny.build(optimizer=keras.optimizers.SGD(1e-3))
    model.fit(batches, epochs=2, verbose=0)
    assert int(model.steps) == 6
    first = np.concatenate(seen)[:20, 0, 0, 0]
    # Begun anew, the second epoch would be the first once more.
    np.testing.assert_array_equal(np.sort(first), np.arange(20))


@pytest.mark.parametrize("way", ["arrays", "batches"])
def test_images_of_0_to_1_are_refused(way):
    view1, view2 = (view / 255.0 for view in tiny.views())
    given = (view1, view2)
    if way == "batches":
        given = (tiny.batch_of(given),)
    with pytest.raises(ValueError, match=r"0 to 1, against value_range=\(0, 2"):
        tiny.build().fit(*given, verbose=0)
    with pytest.raises(ValueError, match="0 to 1, against"):
        tiny.build().predict(view1, verbose=0)


@needs_tensorflow("Keras gives both backends the same batches")
def test_images_of_another_range_are_those_images():
    expected = tiny.build()
    logs = tiny.fit(expected, 2)
    for low, high in [(0.0, 1.0), (-1.0, 1.0)]:
        model = taking((low, high))
        views = [v * (high - low) / 255.0 + low for v in tiny.views(2)]
        history = model.fit(
            *views, batch_size=tiny.BATCH, shuffle=False, verbose=0
        ).history
        np.testing.assert_allclose(history["loss"][-1], logs["loss"], rtol=1e-3)
        np.testing.assert_allclose(
            model.predict(views[0], verbose=0),
            expected.predict(tiny.views(2)[0], verbose=0),
            rtol=1e-2,
            atol=1e-3,
        )


def test_a_range_that_is_contradicted():
    with pytest.raises(ValueError, match=r"outside of value_range=\(0, 1\)"):
        taking((0, 1)).fit(*tiny.views(), verbose=0)


@needs_tensorflow("Keras gives both backends the same batches")
def test_dark_and_byte_images_and_no_range_are_taken():
    black = np.zeros((tiny.BATCH, *tiny.SHAPE), "float32")
    tiny.build().fit(black, black, verbose=0)
    bytes_ = black.astype("uint8") + 1
    tiny.build().fit(bytes_, bytes_, verbose=0)
    small = [view / 255.0 for view in tiny.views()]
    taking(None).fit(*small, verbose=0)


def test_the_range_is_saved(tmp_path):
    model = taking((0, 1))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.value_range == (0.0, 1.0)
    image = tiny.views()[0] / 255.0
    np.testing.assert_array_equal(again(image), model(image))


@pytest.mark.parametrize("value", [255, (1, 0), ("a", 1), (0, np.inf)])
def test_a_range_that_is_none(value):
    with pytest.raises(ValueError, match="value_range must be"):
        taking(value)


def test_an_image_that_is_not_finite_is_named_at_its_step():
    view1, view2 = tiny.views(4)
    view1[2 * tiny.BATCH + 1, 0, 0, 0] = np.nan
    model = tiny.build()
    with pytest.raises(FloatingPointError, match=r"image .* at step 3"):
        model.fit(view1, view2, batch_size=tiny.BATCH, shuffle=False, verbose=0)


def test_weights_that_are_not_finite_are_named_at_their_step():
    model = tiny.build(optimizer=keras.optimizers.SGD(1e30))
    with pytest.raises(FloatingPointError, match=r"not finite.* at step [2-4]"):
        tiny.fit(model, 6)
    model = tiny.build(optimizer=keras.optimizers.SGD(np.inf))
    with pytest.raises(FloatingPointError, match=r"not finite at step 1\."):
        tiny.fit(model, 1)


def test_steps_are_counted_over_epochs_and_fits():
    model = tiny.build()
    tiny.fit(model, 2)
    views = tiny.views(2)
    views[0][tiny.BATCH :] = np.inf
    with pytest.raises(FloatingPointError, match="at step 4"):
        model.fit(*views, batch_size=tiny.BATCH, shuffle=False, verbose=0)


def test_what_is_watched_is_in_no_log():
    names = {"loss", "chi2_information", "effective_rank"}
    seen = []
    model = tiny.build()
    logs = tiny.fit(
        model,
        2,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_train_batch_end=lambda batch, logs: seen.append(set(logs))
            )
        ],
    )
    assert all(step == set(logs) for step in seen) and names < set(logs)
    after = model.train_on_batch(*tiny.views(), return_dict=True)
    assert set(after) == set(logs)


@needs_tensorflow("averages are Keras's own")
def test_averaged_weights_leave_statistics_behind_and_it_is_said():
    with pytest.warns(UserWarning, match=r"use_ema=True .*second moment stay"):
        model = tiny.build(
            optimizer=keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.9)
        )
    tiny.fit(model, 4)
    weights = [w.numpy() for w in model.trainable_variables]
    # What the message says to do.
    model.compile(keras.optimizers.SGD(0.0), **tiny.EAGER)
    tiny.fit(model, 1, epochs=20)
    tiny.assert_equal([w.numpy() for w in model.trainable_variables], weights)
    z = np.concatenate([model(view) for view in tiny.views()])
    tiny.assert_close(
        [model.objective.second_moment.numpy()], [z.T @ z / len(z)], 1e-3
    )


def test_nothing_is_said_where_nothing_is_left_behind():
    model = TwoViewModel(
        tiny.encoder(),
        tiny.linear(tiny.FEATURES, "projector"),
        SpectralContrastive(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.compile(keras.optimizers.SGD(0.1, use_ema=True))
        tiny.build(optimizer=keras.optimizers.SGD(0.1))


@pytest.mark.skipif(BACKEND == "jax", reason="MultiView is TensorFlow's")
def test_views_of_0_to_1_images():
    from minc_tf.augment import MultiView

    configs = presets.simclr(8, strength=0.5, blur=False)
    image = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3))
    image = image.astype("float32")
    seeds = np.array([(1, i) for i in range(4)])
    for make in (
        lambda **kw: MultiView(configs, size=8, **kw),
        lambda **kw: TwoViews(configs, size=8, seed=0, **kw),
    ):
        batch = {"images": image, "augmentation_seed": seeds}
        small = {**batch, "images": image / 255.0}
        if isinstance(make(), TwoViews):
            batch, small = image, image / 255.0
        for a, b in zip(
            make()(batch), make(value_range=(0, 1))(small), strict=True
        ):
            np.testing.assert_allclose(a, b, atol=0.05)
        with pytest.raises(ValueError, match="value_range"):
            make()(small)
