"""Pictures of a run, as PNG and in TensorBoard: views, neighbours."""

import pathlib

import numpy as np
import tensorflow as tf


def grid(rows: np.ndarray, scale: int = 2, gap: int = 2) -> np.ndarray:
    """Lays images out in a grid on white.

    Args:
        rows: array (R, C, H, W, 3) of pixels 0 to 255: R rows of C images.
        scale: int, magnification (whole pixels are repeated).
        gap: int, pixels between images, before magnification.

    Returns:
        uint8 array (height, width, 3).
    """
    rows = np.clip(np.rint(rows), 0, 255).astype(np.uint8)
    padding = ((0, 0), (0, 0), (gap, 0), (gap, 0), (0, 0))
    cells = np.pad(rows, padding, constant_values=255)
    count, across, height, width, channels = cells.shape
    picture = cells.transpose(0, 2, 1, 3, 4)
    picture = picture.reshape(count * height, across * width, channels)
    edge = ((0, gap), (0, gap), (0, 0))
    picture = np.pad(picture, edge, constant_values=255)
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def draw_views(source, views, count: int, seed: int, epoch: int) -> tuple:
    """Draws the views of the first images, as training does in an epoch.

    Args:
        source: `minc_tf.data.ImageSource`.
        views: `minc_tf.augment.MultiView`.
        count: int, number of images.
        seed: int, the run's.
        epoch: int, from 0.

    Returns:
        (images, views): array (count, H, W, 3), the images in the size of
        the first views, and a list of arrays, the views of each.
    """
    images = [source.at(index)["image"] for index in range(count)]
    draws = epoch * len(source) + np.arange(count)
    seeds = np.stack([np.full(count, seed), draws], axis=1)
    if source.varies:
        crops = [
            views.crop(image, row)
            for image, row in zip(images, seeds, strict=True)
        ]
        stacked = tuple(map(tf.stack, zip(*crops, strict=True)))
        made = views.finish(stacked, seeds)
    else:
        made = views({"images": tf.stack(images), "augmentation_seed": seeds})
    size = made[0].shape[1:3]
    shown = [tf.image.resize(image, size, antialias=True) for image in images]
    return np.stack(shown), [np.asarray(view) for view in made]


def view_pairs(images: np.ndarray, views) -> np.ndarray:
    """A grid with an image a column: itself above its views.

    Args:
        images: array (C, H, W, 3), the images.
        views: sequence of arrays (C, h, w, 3), the views of each.

    Returns:
        uint8 array (height, width, 3).
    """
    size = views[0].shape[1:3]
    resized = [
        tf.image.resize(rows, size, antialias=True).numpy()
        for rows in (images, *views)
    ]
    return grid(np.stack(resized))


def nearest_neighbours(
    train_features: np.ndarray,
    train_images: np.ndarray,
    query_features: np.ndarray,
    query_images: np.ndarray,
    *,
    k: int = 8,
) -> np.ndarray:
    """A grid with a query a row, followed by its nearest neighbours.

    Args:
        train_features: array (N, F).
        train_images: array (N, H, W, 3).
        query_features: array (Q, F).
        query_images: array (Q, H, W, 3).
        k: int, neighbours by cosine similarity.

    Returns:
        uint8 array (height, width, 3).
    """

    def unit(x):
        norm = np.linalg.norm(x, axis=1, keepdims=True)
        return x / np.maximum(norm, 1e-12)

    similarity = unit(query_features) @ unit(train_features).T
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    found = train_images[nearest]
    return grid(np.concatenate([query_images[:, None], found], axis=1))


def write(folder: pathlib.Path, events: pathlib.Path, name: str, picture):
    """Writes a picture as `folder/name.png` and as a TensorBoard image.

    Args:
        folder: where the PNG goes.
        events: TensorBoard's folder.
        name: string, without suffix.
        picture: uint8 array (height, width, 3).

    Returns:
        The path of the PNG.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    path.write_bytes(tf.io.encode_png(picture).numpy())
    writer = tf.summary.create_file_writer(str(events / "pictures"))
    with writer.as_default():
        tf.summary.image(name, picture[None], step=0)
    writer.close()
    return path
