"""The map, and the file that keeps it."""

import numpy as np
import pytest

from minc_tf import report


def test_neighbours_stay_neighbours(clusters):
    """On the map of three clusters every nearest neighbour is of one's own."""
    features, _, labels = clusters
    points = report.embedding_map(features)
    assert points.shape == (60, 2) and points.dtype == np.float32
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert np.array_equal(labels[distance.argmin(axis=1)], labels)


def test_map_is_of_directions_and_reproducible(clusters):
    features = clusters[0]
    points = report.embedding_map(features, seed=3)
    np.testing.assert_array_equal(points, report.embedding_map(features, 3))
    # Powers of two change no digit of a direction.
    scale = 2.0 ** np.arange(60)[:, None]
    np.testing.assert_array_equal(
        points, report.embedding_map(features * scale, 3)
    )


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("dim", [1, 2, 60])
def test_few_points(count, dim):
    features = np.random.default_rng(0).normal(size=(count, dim))
    points = report.embedding_map(features)
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_features_coincide(value):
    points = report.embedding_map(np.full((10, 4), value))
    np.testing.assert_array_equal(points, np.zeros((10, 2)))


def test_four_points_keep_their_plane():
    """Below five points the map is a rotation of directions on a plane."""
    angles = np.array([0.0, 0.5, 1.0, 2.0])
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = report.embedding_map(directions)
    expected = np.linalg.norm(directions[:, None] - directions, axis=-1)
    found = np.linalg.norm(points[:, None] - points, axis=-1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bad_features():
    features = np.ones((6, 2))
    features[2, 1] = np.nan
    with pytest.raises(ValueError, match="1 NaN or infinite values in 1 of 6"):
        report.embedding_map(features)
    with pytest.raises(ValueError, match=r"shape \(6,\)"):
        report.embedding_map(np.ones(6))


def test_snapshot_comes_back(tmp_path, snapshot):
    path = tmp_path / "embedding.npz"
    path.write_bytes(b"of before")
    report.save_snapshot(path, snapshot)
    found = report.load_snapshot(path)
    assert found.class_names == snapshot.class_names
    for name in ("points", "labels", "thumbnails", "spectrum"):
        expected = getattr(snapshot, name)
        assert getattr(found, name).dtype == expected.dtype
        np.testing.assert_array_equal(getattr(found, name), expected)
    assert [file.name for file in tmp_path.iterdir()] == ["embedding.npz"]


def test_snapshot_keeps_what_belongs_together(clusters, snapshot):
    features, images, labels = clusters
    np.testing.assert_array_equal(snapshot.labels, labels)
    inner = snapshot.thumbnails[:, 12:20, 12:20]
    np.testing.assert_array_equal(inner, images)
    moment = features.T @ features / len(features)
    expected = np.sort(np.linalg.eigvalsh(moment))[::-1]
    np.testing.assert_allclose(snapshot.spectrum, expected, rtol=1e-4)


def test_snapshot_of_a_part(clusters):
    features, images, labels = clusters
    part = report.make_snapshot(features, images, labels, limit=4, seed=1)
    drawn = part.thumbnails[:, 12, 12, 0]  # the images' numbers
    assert len(set(drawn)) == 4
    np.testing.assert_array_equal(part.labels, labels[drawn])
    assert part.class_names == ("0", "1", "2")
    again = report.make_snapshot(features, images, labels, limit=4, seed=1)
    np.testing.assert_array_equal(again.points, part.points)
    other = report.make_snapshot(features, images, labels, limit=4, seed=2)
    assert set(other.thumbnails[:, 12, 12, 0]) != set(drawn)


def test_snapshot_without_labels(clusters):
    features, images, _ = clusters
    for labels in (None, np.full(5, -1)):
        found = report.make_snapshot(features[:5], images[:5], labels)
        assert found.class_names == ()
        np.testing.assert_array_equal(found.labels, [-1] * 5)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"images": np.zeros((60, 8, 8, 3))}, TypeError, "uint8.*float64"),
        ({"images": np.zeros((59, 8, 8, 3), "uint8")}, ValueError, "60.*59"),
        ({"images": np.zeros((60, 8, 8), "uint8")}, ValueError, "60, 8, 8"),
        ({"labels": np.zeros(60)}, TypeError, "integers.*float64"),
        ({"labels": np.zeros(59, int)}, ValueError, r"\(60,\).*\(59,\)"),
        ({"labels": np.full(60, -2)}, ValueError, "-2 to -2"),
        ({"class_names": ("one", "two")}, ValueError, "below 2.*0 to 2"),
        ({"limit": 0}, ValueError, "limit.*0"),
    ],
)
def test_bad_snapshots(clusters, changed, error, message):
    features, images, labels = clusters
    arguments = {"images": images, "labels": labels} | changed
    with pytest.raises(error, match=message):
        report.make_snapshot(features, **arguments)


def test_files_that_are_no_snapshots(tmp_path, snapshot):
    path = tmp_path / "embedding.npz"
    with pytest.raises(FileNotFoundError):
        report.load_snapshot(path)
    np.savez(path, points=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="not the snapshot"):
        report.load_snapshot(path)
    report.save_snapshot(path, snapshot)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="not the snapshot"):
        report.load_snapshot(path)
