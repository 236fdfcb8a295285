"""TensorBoard: the embedding projector with sprites, and the spectrum."""

import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorboard.plugins import projector

from minc_tf.diagnostics.vectors import check_features
from minc_tf.report import charts
from minc_tf.report.embedding import LIMIT, draw, known_classes
from minc_tf.report.images import (
    check_images,
    encode_png,
    sprite,
    thumbnails,
)

#: Pixels: what a browser takes as a texture, and what a point needs.
_SPRITE_SIDE, _TILE_SIDE = 8192, 64


def write_projector(
    folder: str | os.PathLike,
    features: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    *,
    limit: int = LIMIT,
    seed: int = 0,
) -> pathlib.Path:
    """Write an embedding for TensorBoard's projector.

    The folder gets `projector_config.pbtxt`, `tensors.tsv`, `metadata.tsv`
    (the classes, where there are labels) and `sprite.png`, which name one
    another without a path: the folder can be moved. TensorBoard finds it as
    its `--logdir`, or below that if it holds events too.

    Args:
        folder: path, created if need be.
        features: float array (N, d), one row an image.
        images: uint8 array (N, H, W, 3).
        labels: optional int array (N,), -1 where unknown.
        class_names: optional strings, by label; by default the numbers.
        limit: int, points; of more, that many are drawn at random.
        seed: int, of the draw.

    Returns:
        The path of `projector_config.pbtxt`.

    Raises:
        TypeError: if images or labels are of another type.
        ValueError: if shapes do not fit, a value is not finite, or the
            images of `limit` points do not fit into a sprite of 8192 pixels.

    Example:
    ```python
    import minc_tf

    images, labels = minc_tf.data.render_shapes(200)
    features = images.reshape(200, -1)
    minc_tf.report.write_projector("runs/points", features, images, labels)
    ```
    """
    features = check_features("features", features)
    images = check_images(images, len(features))
    labels, class_names = known_classes(labels, class_names, len(features))
    rows = draw(len(features), limit, seed)
    side = min(_TILE_SIDE, max(images.shape[1:3]))
    most = (_SPRITE_SIDE // side) ** 2
    if len(rows) > most:
        raise ValueError(
            f"limit={limit} is more than the {most} images of {side} pixels "
            "that a sprite can hold."
        )
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    picture = encode_png(sprite(thumbnails(images[rows], side)))
    (folder / "sprite.png").write_bytes(picture)
    np.savetxt(folder / "tensors.tsv", features[rows], "%.6g", delimiter="\t")

    config = projector.ProjectorConfig()
    entry = config.embeddings.add()
    entry.tensor_name = "embedding"
    entry.tensor_path = "tensors.tsv"
    entry.tensor_shape.extend((len(rows), features.shape[1]))
    entry.sprite.image_path = "sprite.png"
    entry.sprite.single_image_dim.extend((side, side))
    if class_names:
        entry.metadata_path = "metadata.tsv"
        lines = [_one_field(label, class_names) for label in labels[rows]]
        # Of a single column the projector takes the first line as a value.
        text = "".join(f"{line}\n" for line in lines)
        (folder / "metadata.tsv").write_text(text, encoding="utf-8")
    projector.visualize_embeddings(str(folder), config)
    return folder / "projector_config.pbtxt"


def write_spectrum(
    folder: str | os.PathLike, spectrum: np.ndarray, step: int
) -> None:
    """Write the picture of a spectrum to TensorBoard.

    Args:
        folder: path of the events.
        spectrum: float array (d,), descending.
        step: int, where it stands on TensorBoard's slider.

    Raises:
        ValueError: if the spectrum is empty, or not finite.

    Example:
    ```python
    minc_tf.report.write_spectrum("runs/a/events/embedding", [1.0, 0.5], 100)
    ```
    """
    picture = charts.spectrum_picture(spectrum)
    writer = tf.summary.create_file_writer(os.fspath(folder))
    with writer.as_default():
        tf.summary.image("spectrum", picture[None], step=step)
    writer.close()


def _one_field(label, class_names):
    """The name of a class, without what ends a field of the table."""
    if label < 0:
        return "no label"
    return re.sub(r"\s+", " ", class_names[label]).strip() or f"class {label}"
