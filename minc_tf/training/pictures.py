"""Pictures of a run: views, neighbours."""

import pathlib

import keras
import numpy as np

from minc_tf.objectives.norms import unit_norm
from minc_tf.report.images import encode_png


def grid(rows: np.ndarray, scale: int = 2, gap: int = 2) -> np.ndarray:
    """Lay (R, C, H, W, 3) out on white; `gap` counts pixels before `scale`."""
    rows = np.clip(np.rint(rows), 0, 255).astype(np.uint8)
    padding = ((0, 0), (0, 0), (gap, 0), (gap, 0), (0, 0))
    cells = np.pad(rows, padding, constant_values=255)
    count, across, height, width, channels = cells.shape
    picture = cells.transpose(0, 2, 1, 3, 4)
    picture = picture.reshape(count * height, across * width, channels)
    edge = ((0, gap), (0, gap), (0, 0))
    picture = np.pad(picture, edge, constant_values=255)
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def view_pairs(images: np.ndarray, views) -> np.ndarray:
    """A grid with an image a column: itself above its views."""
    size = views[0].shape[1:3]
    resized = [_resize(rows, size) for rows in (images, *views)]
    return grid(np.stack(resized))


def nearest_neighbours(
    train_features: np.ndarray,
    train_images: np.ndarray,
    query_features: np.ndarray,
    query_images: np.ndarray,
    *,
    k: int = 8,
) -> np.ndarray:
    """A grid of queries (N, F), each followed by its k nearest by cosine."""
    similarity = unit_norm(query_features) @ unit_norm(train_features).T
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    found = train_images[nearest]
    return grid(np.concatenate([query_images[:, None], found], axis=1))


def write_png(folder: pathlib.Path, name: str, picture: np.ndarray):
    """Write a uint8 picture as `folder/name.png`; return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    path.write_bytes(encode_png(picture))
    return path


def _resize(images, size):
    images = np.asarray(images, "float32")
    found = keras.ops.image.resize(
        images, size, antialias=True, data_format="channels_last"
    )
    return keras.ops.convert_to_numpy(found)
