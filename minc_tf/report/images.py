"""Images of a report: thumbnails, sprites, and what goes into the page."""

import base64
import io

import numpy as np
from keras import ops
from PIL import Image

from minc_tf.data.limits import MAX_PIXELS, too_large

_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def check_images(images, count: int | None = None) -> np.ndarray:
    """Checks a batch of images.

    Args:
        images: array-like, to be uint8 (N, H, W, 3).
        count: optional int, the N that is required.

    Returns:
        The NumPy array.

    Raises:
        TypeError: if the pixels are not uint8.
        ValueError: for another shape, or no images.
    """
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
    """Shrinks images to squares; the margins of oblong ones are white.

    Images that are smaller than the squares stay as they are, in the middle.

    Args:
        images: uint8 array (N, H, W, 3).
        size: int, side of the squares in pixels.

    Returns:
        uint8 array (N, size, size, 3).
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
    """Lays squares out row by row in a square grid, the rest white.

    Args:
        tiles: uint8 array (N, t, t, 3).

    Returns:
        uint8 array (c t, c t, 3), c the least number whose square is N or
        more.
    """
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

    Args:
        places: float array (N, 2), row and column in cells.
        tiles: uint8 array (N, t, t, 3).
        shape: rows and columns of the grid.

    Returns:
        uint8 array (rows t, columns t, 3), white where no image lies.
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

    Args:
        picture: uint8 array (H, W, 3).
        limit: int, bytes that it should not exceed; at a quality of 40 it is
            taken as it is.
    """
    for quality in (90, 75, 60, 40):
        found = _encoded(picture, "JPEG", quality=quality)
        if len(found) <= limit:
            break
    return found


def shrink(picture: bytes, limit: int = 350_000, side: int = 1400) -> bytes:
    """Makes a picture's file small enough for a page.

    Args:
        picture: bytes of a PNG or JPEG file.
        limit: int, bytes; a smaller file is left alone.
        side: int, pixels to which the longer side of a larger one is reduced.

    Returns:
        The file, or that of a smaller JPEG.

    Raises:
        ValueError: if it is no picture.
    """
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
    found = ops.image.resize(images, shape, antialias=True)
    found = ops.convert_to_numpy(found)
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)
