"""Views made on the device: given parameters, randomness, state, errors.

Backend-neutral: these tests also run on JAX where TensorFlow is not installed.
"""

import colorsys
import dataclasses
import doctest
import importlib
import importlib.util
import math

import keras
import numpy as np
import pytest
from keras import ops

import minc_tf
from minc_tf import augment
from minc_tf.augment import device_views, presets
from minc_tf.augment.device_views import ViewParameters
from minc_tf.augment.two_views import TwoViews

LUMA = np.array([0.299, 0.587, 0.114])
SIZE = (9, 12)
PAIRS = {
    "torchvision": presets.byol(32),
    "antialias": [
        dataclasses.replace(c, antialias=True) for c in presets.byol(32)
    ],
    "tf": presets.simclr(32, semantics="tf"),
    "tf_byol": presets.byol(32, semantics="tf"),
}
every_pair = pytest.mark.parametrize("name", PAIRS)


# As in the example of the class: JAX compiles each operation once a shape.
def pictures(count=8, height=40, width=48):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, height, width, 3))
    images[::3] = images[::3, ..., :1]
    return images.astype(np.uint8)


def arrays(tensors):
    return tuple(map(ops.convert_to_numpy, tensors))


def compiled(function):
    """A function of arrays, compiled by XLA."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=True)


def parameters(count=12, semantics="torchvision"):
    """Parameters of six images with two views, chosen and not drawn."""
    rng = np.random.default_rng(1)
    size = rng.integers(1, 17, (count, 2))
    size[:2] = (17, 20), (1, 1)
    corner = rng.integers(0, [17, 20] - size + 1)
    steps = 3 if semantics == "torchvision" else 4
    factors = rng.uniform(0.3, 1.7, (count, 3))
    if semantics == "tf_byol":
        factors[:, 0] = rng.uniform(-90, 90, count)
    chosen = rng.uniform(size=(5, count)) < 0.6
    made = ViewParameters(
        boxes=np.concatenate([corner, size], axis=1),
        flip=chosen[0],
        factors=factors,
        order=np.argsort(rng.uniform(size=(count, steps)), axis=1),
        turn=rng.uniform(-0.3, 0.3, count),
        jitter=chosen[1],
        grey=chosen[2],
        sigma=rng.uniform(0.1, 2.0, count),
        blur=chosen[3],
        threshold=rng.uniform(60, 200, count),
        solarize=chosen[4],
    )
    return ViewParameters(
        *(x if x.dtype == bool else x.astype(np.float32) for x in made)
    )


def filter_of(config):
    """The kernel of the resize and its radius, of scale 1."""
    if config.semantics == "torchvision":
        return lambda d: max(0.0, 1.0 - d), 1.0

    def keys(d):
        if d < 1:
            return 1.5 * d**3 - 2.5 * d**2 + 1
        return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0

    return keys, 2.0


def resize_line(line, count, config):
    """Resize the first axis, one sample and one pixel at a time."""
    kernel, _ = filter_of(config)
    scale = len(line) / count
    stretch = max(scale, 1.0) if config.antialias else 1.0
    result = []
    for sample in range(count):
        centre = (sample + 0.5) * scale
        weights = np.array(
            [
                kernel(abs(pixel + 0.5 - centre) / stretch)
                for pixel in range(len(line))
            ]
        )
        result.append(np.tensordot(weights / weights.sum(), line, 1))
    return np.array(result)


def blur_line(line, sigma, radius, mode):
    """Blur the first axis by a sum of shifted copies."""
    offsets = range(-radius, radius + 1)
    weights = np.array([math.exp(-0.5 * (k / sigma) ** 2) for k in offsets])
    padded = np.pad(line, ((radius, radius), (0, 0), (0, 0)), mode)
    weights /= weights.sum()
    return sum(w * padded[i : i + len(line)] for i, w in enumerate(weights))


def turn_hsv(image, turn=0.0, saturation=1.0):
    result = np.empty_like(image)
    for place in np.ndindex(image.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*image[place] / 255.0)
        s = min(1.0, s * saturation)
        result[place] = colorsys.hsv_to_rgb((h + turn) % 1.0, s, v)
    return result * 255


def change(image, kind, value, semantics):
    """One operation of the jitter."""
    grey = (image @ LUMA)[..., None]
    if kind == 3:
        changed = turn_hsv(image, turn=value)
    elif kind == 0:
        changed = image + value if semantics == "tf_byol" else image * value
    elif semantics == "torchvision":
        base = grey.mean() if kind == 1 else grey
        changed = base + value * (image - base)
    elif kind == 1:
        mean = image.mean(axis=(0, 1))
        changed = mean + value * (image - mean)
    else:
        changed = turn_hsv(image, saturation=value)
    return changed.clip(0, 255)


def reference(image, p, config):
    """One view of one image, slowly."""
    top, left, height, width = p.boxes.astype(int)
    view = image[top : top + height, left : left + width].astype(float)
    view = resize_line(view, SIZE[0], config)
    view = resize_line(view.swapaxes(0, 1), SIZE[1], config).swapaxes(0, 1)
    view = view.clip(0, 255)
    if p.flip:
        view = view[:, ::-1]
    if p.jitter:
        order = [int(kind) for kind in p.order]
        for kind in order + [3] * (len(order) == 3):
            value = p.turn if kind == 3 else p.factors[kind]
            view = change(view, kind, float(value), config.semantics)
    if p.grey:
        view = np.repeat((view @ LUMA)[..., None], 3, axis=-1)
    if p.blur:
        mode = "reflect" if config.semantics == "torchvision" else "constant"
        sigma, radius = float(p.sigma), config.blur_kernel // 2
        view = blur_line(view, sigma, radius, mode)
        view = blur_line(view.swapaxes(0, 1), sigma, radius, mode)
        view = view.swapaxes(0, 1)
    if p.solarize:
        view = np.where(view >= p.threshold, 255 - view, view)
    return view


@every_pair
def test_views_of_given_parameters(name):
    """Each pixel is that of a view made slowly, one image at a time."""
    configs = [
        dataclasses.replace(c, blur_kernel=5, solarize_p=0.5)
        for c in PAIRS[name]
    ]
    images = pictures(6, 17, 20)
    chosen = parameters(semantics=configs[0].semantics)

    def make(images, chosen):
        return device_views.make_views(images, chosen, configs, SIZE)

    given = ViewParameters(*map(ops.convert_to_tensor, chosen))
    made = arrays(compiled(make)(images, given))
    for view, ours in enumerate(made):
        for i, image in enumerate(images):
            one = ViewParameters(*(x[2 * i + view] for x in chosen))
            expected = reference(image, one, configs[view])
            np.testing.assert_allclose(ours[i], expected, atol=0.02)


def test_operations_of_probability_zero_are_left_out():
    none = {"jitter_p": 0, "grey_p": 0, "blur_p": 0, "solarize_p": 0}
    config = dataclasses.replace(PAIRS["torchvision"][0], **none)
    images, chosen = pictures(6, 17, 20), parameters()

    def make(images, chosen):
        return device_views.make_views(images, chosen, [config] * 2, SIZE)

    given = ViewParameters(*map(ops.convert_to_tensor, chosen))
    made = compiled(make)(images, given)
    plain = chosen._replace(
        **dict.fromkeys(("jitter", "grey", "blur", "solarize"), False)
    )
    for view, ours in enumerate(arrays(made)):
        for i, image in enumerate(images):
            row = 2 * i + view
            one = plain._replace(boxes=plain.boxes[row], flip=plain.flip[row])
            expected = reference(image, one, config)
            np.testing.assert_allclose(ours[i], expected, atol=1e-2)


@pytest.mark.parametrize(
    ("name", "shape"), [("torchvision", (40, 9)), ("tf", (1, 1))]
)
def test_any_size_gives_pixels_in_range(name, shape):
    for view in arrays(TwoViews(PAIRS[name], 32)(pictures(8, *shape))):
        assert view.shape == (8, 32, 32, 3)
        assert view.dtype == np.float32
        assert view.min() >= 0 and view.max() <= 255


def test_float_images_give_the_views_of_integers():
    images = pictures()
    make = lambda: TwoViews(PAIRS["torchvision"], 32, seed=3)  # noqa: E731
    expected = arrays(make()(images))
    for dtype in (np.float32, np.float64, np.int32):
        made = arrays(make()(images.astype(dtype)))
        np.testing.assert_array_equal(made, expected)


def test_every_view_image_and_call_has_its_own_draw():
    views = TwoViews(PAIRS["torchvision"], 32, seed=0)
    images = np.repeat(pictures(1), 8, axis=0)
    made = np.concatenate([*arrays(views(images)), *arrays(views(images))])
    made = made.reshape(32, -1)
    distances = np.abs(made[:, None] - made[None]).mean(axis=2)
    assert distances[~np.eye(32, dtype=bool)].min() > 1


def test_same_seed_same_views():
    images, configs = pictures(), PAIRS["torchvision"]
    one, again = (TwoViews(configs, 32, seed=5) for _ in range(2))
    other = TwoViews(configs, 32, seed=6)
    for _ in range(2):
        first, second = arrays(one(images)), arrays(again(images))
        np.testing.assert_array_equal(first, second)
    assert np.abs(first[0] - arrays(other(images))[0]).max() > 1
    keras.utils.set_random_seed(1)
    first = arrays(TwoViews(configs, 32)(images))
    keras.utils.set_random_seed(1)
    np.testing.assert_array_equal(first, arrays(TwoViews(configs, 32)(images)))


def test_state_is_saved_with_a_model(tmp_path):
    """What is drawn after loading goes on from before saving."""
    images = pictures()

    def model():
        inputs = keras.Input(images.shape[1:], dtype="uint8")
        views = TwoViews(PAIRS["torchvision"], 32, seed=2)
        return keras.Model(inputs, views(inputs))

    made = model()
    assert [view.shape for view in made.outputs] == [(None, 32, 32, 3)] * 2
    made(images, training=True)
    made.save(tmp_path / "model.keras")
    made.save_weights(tmp_path / "model.weights.h5")
    expected = arrays(made(images, training=True))
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    fresh = model()
    fresh.load_weights(tmp_path / "model.weights.h5")
    for other in (loaded, fresh):
        np.testing.assert_array_equal(
            arrays(other(images, training=True)), expected
        )


def test_config_comes_back():
    layer = TwoViews(PAIRS["tf_byol"], (32, 32), seed=3, name="pair")
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.configs == layer.configs
    assert (again.size, again.seed, again.name) == ((32, 32), 3, "pair")
    np.testing.assert_array_equal(
        arrays(again(pictures())), arrays(layer(pictures()))
    )


def test_training_false_is_the_whole_image_and_draws_nothing():
    images = pictures()
    for name, configs in PAIRS.items():
        layer, same = (TwoViews(configs, s, seed=0) for s in (32, (40, 48)))
        for view in arrays(same(images, training=False)):
            np.testing.assert_array_equal(view, images)
        smaller = arrays(layer(images, training=False))[1][0]
        expected = resize_line(images[0].astype(float), 32, configs[0])
        expected = resize_line(expected.swapaxes(0, 1), 32, configs[0])
        expected = expected.swapaxes(0, 1).clip(0, 255)
        np.testing.assert_allclose(smaller, expected, atol=1e-2, err_msg=name)
    again = TwoViews(configs, 32, seed=0)
    np.testing.assert_array_equal(arrays(layer(images)), arrays(again(images)))


def test_views_stay_float32_under_mixed_precision():
    images = pictures()
    expected = arrays(TwoViews(PAIRS["torchvision"], 32, seed=0)(images))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        views = TwoViews(PAIRS["torchvision"], 32, seed=0)(images)
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_array_equal(arrays(views), expected)


def test_presets_of_every_method_are_taken():
    for configs in (presets.simsiam(24), presets.mio(48), presets.byol(24)):
        assert len(TwoViews(configs, 32)(pictures())) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda c: TwoViews(c[:1], 24),
            "two `ViewConfig`; received 1.*MultiView",
        ),
        (lambda c: TwoViews([], 24), "configs must"),
        (lambda c: TwoViews(["simclr"] * 2, 24), "configs must.*'simclr'"),
        (
            lambda c: TwoViews(*presets.multi_crop(c, 24, small_size=12)),
            "two `ViewConfig`; received 8.*MultiView",
        ),
        (lambda c: TwoViews(c, [(24, 24), (12, 12)]), "both views.*MultiView"),
        (lambda c: TwoViews(c, 0), "size .*received 0"),
        (lambda c: TwoViews(c, 32, seed=-1), "seed must.*-1"),
        (lambda c: TwoViews(c, 24, dtype="bfloat16"), "dtype must.*'bfloat16'"),
        (
            lambda c: TwoViews((c[0], PAIRS["tf"][1]), 24),
            "one `semantics`; received 'torchvision' and 'tf'.*MultiView",
        ),
        (
            lambda c: TwoViews(presets.simclr(224), 11),
            "blur_kernel=23 needs views of more than 11 pixels",
        ),
        (
            lambda c: TwoViews(c, 24)(np.zeros([9, 9, 3], np.uint8)),
            r"shape \(batch, height, width, 3\); received \(9, 9, 3\)",
        ),
        (
            lambda c: TwoViews(c, 24)(np.zeros([2, 9, 9, 1], np.uint8)),
            r"received \(2, 9, 9, 1\)",
        ),
        (
            lambda c: TwoViews(c, 24)(keras.Input((None, None, 3))),
            "one size.*MultiView",
        ),
    ],
)
def test_bad_arguments_and_inputs(make, message):
    with pytest.raises(ValueError, match=message):
        make(PAIRS["torchvision"])


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None,
    reason="TensorFlow is installed",
)
def test_what_needs_tensorflow_says_so():
    with pytest.raises(ImportError, match=r"MultiView needs .*pip install"):
        _ = augment.MultiView


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'TooViews'"):
        _ = augment.TooViews


def test_docstring_example():
    module = importlib.import_module("minc_tf.augment.two_views")
    names = {"minc_tf": minc_tf, "np": np}
    assert doctest.testmod(module, extraglobs=names).failed == 0
