"""The embedded set: reproducible, balanced, and not readable from pixels."""

import numpy as np
import pytest

import minc_tf.data
from minc_tf.data import shapes


@pytest.fixture(scope="module")
def pictures():
    return shapes.render_shapes(10_000, "train"), shapes.render_shapes(
        2_000, "test"
    )


def _knn_accuracy(train, test, k, weigh):
    (x, y), (x_test, y_test) = train, test
    x = x.reshape(len(x), -1).astype(np.float32)
    x_test = x_test.reshape(len(x_test), -1).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x_test /= np.linalg.norm(x_test, axis=1, keepdims=True)
    similarity = x_test @ x.T
    nearest = np.argpartition(-similarity, k, axis=1)[:, :k]
    weights = weigh(np.take_along_axis(similarity, nearest, axis=1))
    votes = [(weights * (y[nearest] == c)).sum(1) for c in range(10)]
    return np.mean(np.argmax(votes, axis=0) == y_test)


def test_raw_pixels_do_not_tell_the_class(pictures):
    train, (images, labels) = pictures
    pictures = train, (images[:500], labels[:500])
    weighted = _knn_accuracy(*pictures, 200, lambda s: np.exp(s / 0.07))
    plain = _knn_accuracy(*pictures, 20, np.ones_like)
    assert weighted < 0.4
    assert plain < 0.4


def test_mean_colour_and_contrast_do_not_tell_the_class(pictures):
    (x, y), (x_test, y_test) = pictures

    def statistics(images):
        flat = images.reshape(len(images), -1, 3).astype(np.float32)
        return np.concatenate([flat.mean(1), flat.std(1)], axis=1)

    train, test = statistics(x), statistics(x_test)
    centres = np.stack([train[y == c].mean(0) for c in range(10)])
    scale = train.std(0)
    distance = ((test[:, None] - centres) / scale) ** 2
    accuracy = np.mean(distance.sum(-1).argmin(1) == y_test)
    assert accuracy < 0.3


def test_a_picture_does_not_depend_on_how_many_are_rendered(pictures):
    (images, labels), _ = pictures
    few, few_labels = shapes.render_shapes(303, "train")
    np.testing.assert_array_equal(few, images[:303])
    np.testing.assert_array_equal(few_labels, labels[:303])


def test_seeds_and_splits_give_other_pictures(pictures):
    (train, _), (test, _) = pictures
    other, _ = shapes.render_shapes(250, "train", seed=1)
    sets = [train[:250], test[:250], other]
    hashes = {picture.tobytes() for images in sets for picture in images}
    assert len(hashes) == 750
    assert not {p.tobytes() for p in test} & {p.tobytes() for p in train}


def test_classes_are_balanced(pictures):
    for (_, labels), each in zip(pictures, (1000, 200), strict=True):
        np.testing.assert_array_equal(np.bincount(labels), [each] * 10)


def test_the_figures_have_the_area_of_their_formula():
    """Areas in the unit disk, by geometry, against counted pixels."""
    grid = np.linspace(-1.2, 1.2, 961, dtype=np.float32)
    x, y = np.meshgrid(grid, grid)
    cell = (grid[1] - grid[0]) ** 2
    notch, tip, step = 0.42, 1.05, np.pi / 5
    areas = {
        "disk": np.pi * 0.9**2,
        "ring": np.pi * (0.94**2 - 0.5**2),
        "square": 1.56**2,
        "triangle": 3 * np.sqrt(3) / 4,
        "star": 5 * notch * tip * np.sin(step),
        "cross": 2 * 1.9 * 0.56 - 0.56**2,
        "bars": 2 * 0.48 * 1.7,
        "angle": 0.52 * 1.8 + 0.52 * 1.52 - 0.52 * 0.52,
    }
    for name, area in areas.items():
        counted = np.sum(shapes._FIGURES[name](x, y) < 0) * cell
        assert counted == pytest.approx(area, rel=0.02), name


def test_load_shapes_sizes_and_description():
    source = minc_tf.data.load("shapes", "test", num_examples=30)
    assert len(source) == 30
    assert source.image_shape == (32, 32, 3)
    assert source.class_names == shapes.CLASS_NAMES
    assert source.num_classes == 10
    assert (source.name, source.split) == ("shapes", "test")
    assert len(minc_tf.data.load("shapes", "test")) == 2000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "valid"}, "split must be one of 'train', 'test'"),
        ({"split": "trian"}, "did you mean 'train'"),
        ({"num_examples": 0}, "num_examples must be an int >= 1; received 0"),
        ({"num_examples": 2.5}, "received 2.5"),
        ({"seed": -1}, "seed must be an int >= 0; received -1"),
        ({"data_dir": "x"}, "data_dir must be None for 'shapes'"),
        ({"image_size": 64}, "image_size must be None or 32"),
        ({"image_size": "64"}, "image_size must be an int >= 1 or a pair"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        minc_tf.data.load("shapes", **options)
