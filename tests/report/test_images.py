"""Thumbnails, sprites and mosaics, against loops."""

import io

import numpy as np
import pytest
from PIL import Image

from minc_tf.report import images


def pictures(*shape, seed=0):
    """Random pixels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, shape, np.uint8)


def test_thumbnails_of_oblong_images():
    """A flat colour stays one, in the middle of white margins."""
    wide = np.full((2, 64, 128, 3), 10, np.uint8)
    found = images.thumbnails(wide, 32)
    assert found.shape == (2, 32, 32, 3)
    assert (found[:, 8:24] == 10).all()
    assert (found[:, :8] == 255).all() and (found[:, 24:] == 255).all()


def test_thumbnails_keep_the_mean():
    large = pictures(3, 64, 64, 3)
    small = images.thumbnails(large, 16)
    difference = large.mean((1, 2)) - small.mean((1, 2))
    assert np.abs(difference).max() < 3.0


def test_small_images_stay_as_they_are():
    small = pictures(1, 5, 4, 3)
    found = images.thumbnails(small, 10)
    np.testing.assert_array_equal(found[0, 2:7, 3:7], small[0])
    assert (found == 255).sum() >= 3 * (100 - 20)


@pytest.mark.parametrize(("count", "across"), [(1, 1), (4, 2), (5, 3)])
def test_sprite(count, across):
    tiles = pictures(count, 6, 6, 3)
    found = images.sprite(tiles)
    assert found.shape == (6 * across, 6 * across, 3)
    for index in range(across**2):
        row, column = divmod(index, across)
        cell = found[6 * row : 6 * row + 6, 6 * column : 6 * column + 6]
        expected = tiles[index] if index < count else 255
        assert (cell == expected).all()


def test_mosaic():
    """Each cell holds the image nearest to its centre, by a slow search."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0.0, 1.0, (20, 2)) * (2, 3)
    places[0] = (2.0, 3.0)  # the far corner is still inside
    tiles = pictures(20, 4, 4, 3)
    found = images.mosaic(places, tiles, (2, 3))
    assert found.shape == (8, 12, 3)
    for row in range(2):
        for column in range(3):
            best, least = None, np.inf
            for index, (y, x) in enumerate(places):
                own = (min(int(y), 1), min(int(x), 2)) == (row, column)
                distance = (y - row - 0.5) ** 2 + (x - column - 0.5) ** 2
                if own and distance < least:
                    best, least = index, distance
            cell = found[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            assert (cell == (255 if best is None else tiles[best])).all()


def test_large_pictures_shrink():
    small = images.encode_png(pictures(8, 8, 3))
    assert images.shrink(small) is small
    large = images.encode_png(pictures(300, 600, 3))
    found = images.shrink(large, limit=50_000, side=200)
    assert images.data_type(found) == "image/jpeg"
    assert len(found) < 50_000
    assert images.data_uri(found).startswith("data:image/jpeg;base64,/9j/")
    with pytest.raises(ValueError, match="not a PNG"):
        images.shrink(b"<svg/>")


def test_gaps_of_grids_are_transparent():
    """And what lies between them stays what it was, but for white pixels."""
    tiles = pictures(2, 3, 6, 5, 3)
    tiles[0, 0, 2, 2] = 255
    rows = np.full((2 * 6 + 3, 3 * 5 + 4, 3), 255, np.uint8)
    clear = np.ones(rows.shape[:2], bool)
    for row in range(2):
        for column in range(3):
            top, left = 1 + row * 7, 1 + column * 6
            cell = np.s_[top : top + 6, left : left + 5]
            rows[cell] = tiles[row, column]
            clear[cell] = False
    file = images.shrink(images.encode_png(rows))
    assert images.data_type(file) == "image/png"
    found = np.asarray(Image.open(io.BytesIO(file)))
    np.testing.assert_array_equal(found[..., 3] == 0, clear)
    np.testing.assert_array_equal(found[~clear, :3], rows[~clear])
    large = np.full((300, 606, 3), 255, np.uint8)
    large[:, :300], large[:, 306:] = pictures(2, 300, 300, 3)
    file = images.shrink(images.encode_png(large), limit=60_000, side=400)
    assert images.data_type(file) == "image/webp" and len(file) < 60_000
    found = Image.open(io.BytesIO(file))
    assert found.size == (400, 198) and found.getpixel((199, 99))[3] < 128


def test_empty_cells_of_a_mosaic_are_transparent():
    tiles = images.thumbnails(pictures(1, 16, 32, 3))
    found = images.mosaic(
        np.array([[0.5, 1.5]]), images.clear_margins(tiles), (2, 2)
    )
    assert found.shape == (64, 64, 4)
    expected = np.zeros((64, 64), bool)
    expected[8:24, 32:] = True
    np.testing.assert_array_equal(found[..., 3] == 255, expected)
