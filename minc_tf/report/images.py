"""Images of a report: thumbnails, sprites, and what goes into the page."""

import base64
import io

import numpy as np
from keras import ops
from PIL import Image

from minc_tf.data.limits import MAX_PIXELS, too_large

_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def check_images(images, count: int | None = None) -> np.ndarray:
    """Return images as an array, uint8 (N, H, W, 3), or raise."""
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(
            f"images must be uint8, of 0 to 255; received {images.dtype}."
        )
    if images.ndim != 4 or images.shape[-1] != 3 or not images.size:
        raise ValueError(
            "images must be a non-empty array (N, H, W, 3); received shape "
            f"{images.shape}."
        )
    if count is not None and len(images) != count:
        raise ValueError(
            f"images must be {count}, one for each feature vector; received "
            f"{len(images)}."
        )
    return images


def thumbnails(images: np.ndarray, size: int = 32) -> np.ndarray:
    """Shrink images to squares (N, size, size, 3), their margins white.

    Images that are smaller than the squares stay as they are, in the middle.
    """
    count, height, width, _ = images.shape
    if max(height, width) > size:
        scale = size / max(height, width)
        shape = [max(1, round(side * scale)) for side in (height, width)]
        images = _resized(images, shape)
        height, width = shape
    top, left = (size - height) // 2, (size - width) // 2
    squares = np.full((count, size, size, 3), 255, np.uint8)
    squares[:, top : top + height, left : left + width] = images
    return squares


def sprite(tiles: np.ndarray) -> np.ndarray:
    """Lay squares (N, t, t, 3) out row by row in a square, the rest white."""
    count, size = tiles.shape[:2]
    across = int(np.ceil(np.sqrt(count)))
    cells = np.full((across * across, *tiles.shape[1:]), 255, np.uint8)
    cells[:count] = tiles
    cells = cells.reshape(across, across, size, size, 3)
    return cells.transpose(0, 2, 1, 3, 4).reshape(across * size, -1, 3)


def mosaic(
    places: np.ndarray, tiles: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """A grid of images at their places, in each cell the one nearest to it.

    Places (N, 2) are row and column in cells; empty cells are white.
    """
    size = tiles.shape[1]
    cells = np.clip(np.floor(places), 0, np.subtract(shape, 1)).astype(int)
    distance = np.square(places - cells - 0.5).sum(axis=1)
    grid = np.full((*shape, size, size, 3), 255, np.uint8)
    # The nearest to the centre of a cell is written last.
    for index in np.argsort(-distance, kind="stable"):
        grid[tuple(cells[index])] = tiles[index]
    rows, columns = shape
    picture = grid.transpose(0, 2, 1, 3, 4)
    return picture.reshape(rows * size, columns * size, 3)


def encode_png(picture: np.ndarray) -> bytes:
    """The PNG file of a picture, uint8 (H, W, 3)."""
    return _encoded(picture, "PNG")


def encode_jpeg(picture: np.ndarray, limit: int) -> bytes:
    """The JPEG file of a picture, of the best quality that a limit allows.

    At a quality of 40 it is taken as it is.
    """
    for quality in (90, 75, 60, 40):
        found = _encoded(picture, "JPEG", quality=quality)
        if len(found) <= limit:
            break
    return found


def shrink(picture: bytes, limit: int = 350_000, side: int = 1400) -> bytes:
    """Return a picture's file, or that of a JPEG small enough for a page."""
    if data_type(picture) and len(picture) <= limit:
        return picture
    pixels = _decoded(picture)
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    shape = [max(1, round(length * scale)) for length in (height, width)]
    return encode_jpeg(_resized(pixels[None], shape)[0], limit)


def data_type(picture: bytes) -> str | None:
    """The media type of a file of a picture, None for any other."""
    found = (kind for head, kind in _TYPES.items() if picture.startswith(head))
    return next(found, None)


def data_uri(picture: bytes) -> str:
    """A `data:` address that holds a PNG or JPEG file."""
    encoded = base64.b64encode(picture).decode("ascii")
    return f"data:{data_type(picture)};base64,{encoded}"


def _encoded(picture, kind, **options):
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, kind, **options)
    return file.getvalue()


def _decoded(picture):
    """The pixels of a PNG or JPEG file, uint8 (H, W, 3)."""
    try:
        with Image.open(io.BytesIO(picture), formats=("PNG", "JPEG")) as image:
            fault = too_large(image.height, image.width, MAX_PIXELS)
            if fault is None:
                return np.asarray(image.convert("RGB"))
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:
        fault = str(error)
    raise ValueError(f"not a PNG or JPEG picture ({fault})")


def _resized(images, shape):
    images = ops.convert_to_tensor(images, dtype="float32")
    found = ops.image.resize(
        images, shape, antialias=True, data_format="channels_last"
    )
    found = ops.convert_to_numpy(found)
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)
