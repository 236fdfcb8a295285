"""Few labels, held-out images, and batches of images to train on."""

import numpy as np
import pytest

from minc_tf.data import ArraySource
from minc_tf.evaluation import labelled_fraction
from minc_tf.evaluation.protocols.labelled_images import (
    crop_and_flip,
    labelled_batches,
    row_batches,
)
from minc_tf.evaluation.protocols.subsets import hold_out_of_classes

from .shapes_encoder import pictures

# 500 of class 0, 40 of class 1, 3 of class 2, 1 of class 3.
LABELS = np.random.default_rng(0).permutation(
    np.repeat([0, 1, 2, 3], [500, 40, 3, 1])
)


def counts(labels):
    return np.bincount(labels, minlength=4).tolist()


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (1.0, [500, 40, 3, 1]),
        (0.1, [50, 4, 1, 1]),
        (0.01, [5, 1, 1, 1]),
        (1e-9, [1, 1, 1, 1]),
    ],
)
def test_fraction_of_every_class(fraction, expected):
    rows = labelled_fraction(LABELS, fraction, seed=3)
    assert counts(LABELS[rows]) == expected
    assert rows.dtype == np.int64
    np.testing.assert_array_equal(rows, np.unique(rows))


def test_fractions_of_one_seed_are_nested_and_seeds_differ():
    small, large = (labelled_fraction(LABELS, f, seed=1) for f in (0.02, 0.2))
    assert set(small) < set(large)
    other = labelled_fraction(LABELS, 0.2, seed=2)
    assert counts(LABELS[other]) == counts(LABELS[large])
    assert set(other) != set(large)
    np.testing.assert_array_equal(large, labelled_fraction(LABELS, 0.2, seed=1))


def test_every_image_is_as_likely():
    labels = np.repeat([0, 1], 10)
    drawn = [labelled_fraction(labels, 0.3, seed=s) for s in range(400)]
    frequency = np.bincount(np.concatenate(drawn), minlength=20) / 400
    # 0.3 with a standard deviation of 0.023
    np.testing.assert_allclose(frequency, 0.3, atol=0.1)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, float("nan")])
def test_bad_fraction(fraction):
    with pytest.raises(ValueError, match=f"must .*received {fraction}"):
        labelled_fraction(LABELS, fraction)


def test_bad_labels_and_seed():
    with pytest.raises(ValueError, match="1 unlabelled"):
        labelled_fraction(np.array([0, -1]), 0.5)
    with pytest.raises(ValueError, match="seed must be an int >= 0"):
        labelled_fraction(LABELS, 0.5, seed=-1)


def test_hold_out_of_classes():
    kept, held = hold_out_of_classes(LABELS, 0.1, seed=0)
    assert counts(LABELS[kept]) == [450, 36, 2, 1]
    assert counts(LABELS[held]) == [50, 4, 1, 0]
    np.testing.assert_array_equal(
        np.sort(np.concatenate([kept, held])), np.arange(len(LABELS))
    )
    kept, held = hold_out_of_classes(LABELS, 0.999, seed=0)
    assert counts(LABELS[kept]) == [1, 1, 1, 1]
    kept, held = hold_out_of_classes(np.arange(3), 0.5, seed=0)
    assert (len(kept), len(held)) == (3, 0)


def test_row_batches():
    rows = np.array([2, 3, 5, 7, 11])
    batches = list(row_batches(rows, 2, epochs=3, seed=4).as_numpy_iterator())
    assert [len(b) for b in batches] == [2] * 7  # 15 rows: one is left
    stream = np.concatenate(batches)
    first, second = stream[:5], stream[5:10]
    np.testing.assert_array_equal(np.sort(first), rows)
    np.testing.assert_array_equal(np.sort(second), rows)
    assert not np.array_equal(first, second)
    again = row_batches(rows, 2, epochs=3, seed=4).as_numpy_iterator()
    np.testing.assert_array_equal(np.concatenate(list(again)), stream)
    other = row_batches(rows, 2, epochs=3, seed=5).as_numpy_iterator()
    assert not np.array_equal(np.concatenate(list(other)), stream)


def drawn(augment, seed=0, epochs=2):
    """Images and labels of all batches, whose label is the index."""
    source = pictures("train", 30, ("ring", "bars", "cross"))
    source = ArraySource(source.images, np.arange(len(source)))
    rows = np.arange(4, 20)
    batches = list(
        labelled_batches(
            source, rows, 8, epochs=epochs, seed=seed, augment=augment
        ).as_numpy_iterator()
    )
    images, labels = (
        np.concatenate(part) for part in zip(*batches, strict=True)
    )
    return source, rows, images, labels


def test_batches_without_augmentation():
    source, rows, images, labels = drawn(augment=False)
    np.testing.assert_array_equal(images, source.images[labels])
    assert images.dtype == np.float32
    np.testing.assert_array_equal(np.sort(labels[:16]), rows)
    np.testing.assert_array_equal(np.sort(labels[16:]), rows)


def test_augmented_batches():
    source, _, images, labels = drawn(augment=True)
    order = [np.argsort(part) for part in (labels[:16], labels[16:])]
    first, second = images[:16][order[0]], images[16:][order[1]]
    originals = source.images[4:20].astype("float32")
    # No view is the image, and no view comes again in the second epoch.
    for a, b in ((first, originals), (second, originals), (first, second)):
        assert (np.abs(a - b).mean((1, 2, 3)) > 1).all()
    # Crops and flips make no new colours.
    low, high = originals.min((1, 2)), originals.max((1, 2))
    assert (first.min((1, 2)) >= low - 1e-3).all()
    assert (first.max((1, 2)) <= high + 1e-3).all()
    np.testing.assert_array_equal(drawn(augment=True)[2], images)
    assert not np.array_equal(drawn(augment=True, seed=1)[2], images)


def test_crop_area_of_the_papers():
    for size, area in ((32, 0.2), (63, 0.2), (64, 0.08), (224, 0.08)):
        (config,) = crop_and_flip((size, 80, 3)).configs
        smallest = min(size, 80)
        assert config.area == ((0.2 if smallest < 64 else 0.08), 1.0)
        assert config.area[0] == area
        assert (config.jitter_p, config.grey_p, config.blur_p) == (0, 0, 0)
