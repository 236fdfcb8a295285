"""What every augmentation layer owes its user, and how each treats inputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from minc_tf import augment

LAYERS = {
    "crop": lambda **k: augment.RandomResizedCrop(12, **k),
    "crop_antialias": lambda **k: augment.RandomResizedCrop(
        (10, 12), antialias=True, **k
    ),
    "flip": lambda **k: augment.RandomFlip(0.5, **k),
    "jitter": lambda **k: augment.ColorJitter(0.8, 0.8, 0.8, 0.2, **k),
    "grey": lambda **k: augment.RandomGrayscale(0.5, **k),
    "blur": lambda **k: augment.RandomGaussianBlur(
        (0.5, 2.0), 5, probability=0.4, **k
    ),
    "blur_all": lambda **k: augment.RandomGaussianBlur(
        (0.5, 2.0), 5, probability=1.0, **k
    ),
    "crop_tf": lambda **k: augment.RandomResizedCrop(12, semantics="tf", **k),
    "jitter_tf": lambda **k: augment.ColorJitter(semantics="tf", **k),
    "jitter_byol": lambda **k: augment.ColorJitter(semantics="tf_byol", **k),
    "blur_tf": lambda **k: augment.RandomGaussianBlur(
        (0.5, 2.0), 5, semantics="tf", **k
    ),
    "solarize": lambda **k: augment.RandomSolarize(100, 0.5, **k),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def inputs(count=10, first=0):
    index = np.arange(first, first + count)
    images = np.stack(
        [np.random.default_rng(i).integers(0, 256, (16, 20, 3)) for i in index]
    )
    return {
        "images": tf.constant(images, tf.uint8),
        "augmentation_seed": tf.constant(
            np.stack([np.full(count, 7), index], axis=1), tf.int64
        ),
    }


def size_of(name, images):
    sizes = {"crop": (12, 12), "crop_tf": (12, 12), "crop_antialias": (10, 12)}
    return sizes.get(name, tuple(images.shape[1:3]))


@every_layer
def test_same_seed_same_pixels_everywhere(name):
    whole = inputs()
    layer = LAYERS[name]()
    eager = layer(whole)["images"].numpy()
    assert eager.dtype == np.float32
    assert eager.shape == (10, *size_of(name, whole["images"]), 3)
    assert eager.min() >= 0 and eager.max() <= 255

    part = layer(inputs(3, first=4))["images"].numpy()
    np.testing.assert_allclose(part, eager[4:7], atol=1e-3)
    one = {key: value[5] for key, value in whole.items()}
    single = layer(one)["images"].numpy()
    np.testing.assert_allclose(single, eager[5], atol=1e-3)

    data = tf.data.Dataset.from_tensor_slices(whole)
    compiled = data.batch(5, drop_remainder=True).map(
        LAYERS[name](), num_parallel_calls=2
    )
    pixels = np.concatenate([d["images"] for d in compiled])
    np.testing.assert_allclose(pixels, eager, atol=1e-2)


@pytest.mark.parametrize("name", ["crop", "jitter", "blur"])
def test_same_pixels_in_batches_of_unknown_size(name):
    whole = inputs()
    data = tf.data.Dataset.from_tensor_slices(whole)
    dynamic = data.batch(4).map(LAYERS[name](jit_compile=False))
    pixels = np.concatenate([d["images"] for d in dynamic])
    expected = LAYERS[name]()(whole)["images"]
    np.testing.assert_allclose(pixels, expected, atol=1e-2)


@every_layer
def test_other_seed_salt_or_image_draws_anew(name):
    first = inputs()
    # One picture in all places: differences are those of the draws.
    first["images"] = tf.repeat(first["images"][:1], 10, axis=0)
    layer = LAYERS[name]()
    pixels = layer(first)["images"].numpy()
    assert len(np.unique(pixels.reshape(10, -1), axis=0)) > 1
    second = {**first, "augmentation_seed": first["augmentation_seed"] + [1, 0]}
    assert np.abs(layer(second)["images"] - pixels).max() > 1
    salted = LAYERS[name](salt=1)(first)["images"]
    assert np.abs(salted - pixels).max() > 1


@every_layer
def test_own_generator(name):
    images = inputs()["images"]
    layer, again = LAYERS[name](seed=0), LAYERS[name](seed=0)
    first, second = layer(images).numpy(), layer(images).numpy()
    np.testing.assert_array_equal(again(images), first)
    np.testing.assert_array_equal(again(images), second)
    assert np.abs(first - second).max() > 1
    salted = LAYERS[name](seed=0, salt=1)(images)
    assert np.abs(salted - first).max() > 1


def test_set_random_seed_seeds_the_own_generator():
    images = inputs()["images"]
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        runs.append(augment.ColorJitter()(images).numpy())
    np.testing.assert_array_equal(*runs)


@every_layer
def test_dict_entries_pass_through(name):
    given = inputs()
    given["labels"] = tf.range(10, dtype=tf.int64)
    given["name"] = tf.constant([b"x"] * 10)
    given["epoch"] = tf.constant(3)
    result = LAYERS[name]()(given)
    assert set(result) == set(given)
    for key in ("labels", "name", "epoch", "augmentation_seed"):
        assert result[key] is given[key]
    assert given["images"].dtype == tf.uint8


@every_layer
def test_uint8_and_float_and_numpy_inputs_agree(name):
    given = inputs()
    expected = LAYERS[name]()(given)["images"]
    for images in (
        tf.cast(given["images"], tf.float32),
        given["images"].numpy(),
        tf.cast(given["images"], tf.float64),
    ):
        ours = LAYERS[name]()({**given, "images": images})["images"]
        np.testing.assert_allclose(ours, expected, atol=1e-3)


@every_layer
def test_training_false_is_deterministic(name):
    given = inputs()
    images = given["images"]
    result = LAYERS[name]()(images, training=False)
    assert result.dtype == tf.float32
    if name.startswith("crop"):
        expected = tf.image.resize(
            images,
            size_of(name, images),
            method="bicubic" if name == "crop_tf" else "bilinear",
            antialias=name == "crop_antialias",
        )
        tolerance = 0.6 if name == "crop_tf" else 1e-2
        expected = np.clip(expected, 0, 255)
        np.testing.assert_allclose(result, expected, atol=tolerance)
    else:
        np.testing.assert_array_equal(result, images)


@every_layer
def test_config_round_trip(name):
    layer = LAYERS[name](seed=5, salt=2, jit_compile=False)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    given = inputs()
    np.testing.assert_array_equal(
        again(given)["images"], layer(given)["images"]
    )


@pytest.mark.parametrize("name", ["crop", "jitter", "blur"])
def test_compiles_inside_a_larger_program(name):
    """Alone each is compiled in `test_same_seed_same_pixels_everywhere`."""
    given = inputs()
    layer = LAYERS[name]()
    compiled = tf.function(layer, jit_compile=True)(given)["images"]
    np.testing.assert_allclose(compiled, layer(given)["images"], atol=1e-2)


def test_pixels_stay_float32_under_mixed_precision():
    given = inputs()
    expected = {n: make()(given)["images"] for n, make in LAYERS.items()}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        for name, make in LAYERS.items():
            result = make()(given)["images"]
            assert result.dtype == tf.float32
            np.testing.assert_array_equal(result, expected[name])
    finally:
        keras.config.set_dtype_policy(before)


def test_sequential_and_predict():
    names = ("crop", "jitter", "blur", "solarize")
    model = keras.Sequential([LAYERS[name](seed=1) for name in names])
    images = tf.cast(inputs()["images"], tf.float32)
    assert model(images).shape == (10, 12, 12, 3)
    assert np.abs(model(images) - model(images)).max() > 1
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), model.predict(images, verbose=0)
    )


def test_composes_with_stock_keras_cv():
    keras_cv = pytest.importorskip("keras_cv")
    given = {**inputs(), "labels": tf.ones([10, 2])}
    augmenter = keras_cv.layers.Augmenter(
        [keras_cv.layers.RandomFlip(), LAYERS["jitter"](), LAYERS["crop"]()]
    )
    result = augmenter(given)
    assert result["images"].shape == (10, 12, 12, 3)


def test_whole_batch_and_no_image_blurred():
    given = inputs()
    for probability in (0.0, 1e-9):
        layer = augment.RandomGaussianBlur(
            (1.0, 2.0), 5, probability=probability
        )
        np.testing.assert_array_equal(layer(given)["images"], given["images"])
    some = augment.RandomGaussianBlur((1.0, 2.0), 5, probability=0.999999)
    every = augment.RandomGaussianBlur((1.0, 2.0), 5, probability=1.0)
    np.testing.assert_allclose(
        some(given)["images"], every(given)["images"], atol=1e-3
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augment.RandomResizedCrop(0), "size .*received 0"),
        (lambda: augment.RandomResizedCrop((8, -1)), "size must"),
        (lambda: augment.RandomResizedCrop(8, area=(0, 1)), "area must"),
        (lambda: augment.RandomResizedCrop(8, area=(0.5, 0.2)), "area must"),
        (lambda: augment.RandomResizedCrop(8, aspect=2.0), "aspect must"),
        (lambda: augment.RandomFlip(1.5), r"probability .*received 1\.5"),
        (lambda: augment.RandomFlip(True), "probability must"),
        (lambda: augment.ColorJitter(-0.1), "brightness must"),
        (lambda: augment.ColorJitter(hue=0.6), "hue must.*0.6"),
        (lambda: augment.RandomGaussianBlur(kernel_size=4), "odd.*received 4"),
        (lambda: augment.RandomGaussianBlur((0, 1)), "sigma must"),
        (lambda: augment.ColorJitter(semantics="jax"), "semantics must.*'jax'"),
        (
            lambda: augment.RandomResizedCrop(
                8, antialias=True, semantics="tf"
            ),
            "antialias must be False",
        ),
        (lambda: augment.RandomSolarize(300), "threshold must.*300"),
        (lambda: augment.RandomFlip(seed=-1), "seed must"),
        (lambda: augment.RandomFlip(salt=70_000), "salt must"),
        (lambda: augment.RandomFlip(jit_compile="no"), "jit_compile must"),
        (lambda: augment.RandomFlip(dtype="bfloat16"), "dtype must"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros([4, 8, 8, 1])}, "images must have shape"),
        ({"images": np.zeros([8, 8])}, "images must have shape"),
        ({"augmentation_seed": np.zeros([10], int)}, "one pair per image"),
        ({"augmentation_seed": np.zeros([10, 2])}, "int64"),
        ({"bounding_boxes": {}}, "cannot move `bounding_boxes`"),
    ],
)
def test_bad_inputs(change, message):
    with pytest.raises(ValueError, match=message):
        augment.RandomResizedCrop(8)({**inputs(), **change})


def test_dict_without_images_and_too_small_images():
    with pytest.raises(ValueError, match="key 'images'"):
        augment.RandomFlip()({"image": np.zeros([2, 8, 8, 3])})
    with pytest.raises(ValueError, match="more than 11 pixels a side"):
        augment.RandomGaussianBlur()(np.zeros([2, 8, 8, 3]))
