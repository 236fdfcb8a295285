"""Images of a report: thumbnails, sprites, and what goes into the page."""

import base64
import io

import numpy as np
from keras import ops
from PIL import Image

from minc_tf.data.limits import MAX_PIXELS, too_large

_TYPES = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"RIFF": "image/webp",
}


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
    """Shrink images to squares (N, size, size, 3) on white; enlarge none."""
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
    """A grid of tiles at places (N, 2), rows and columns in cells.

    A cell has the nearest to its centre; empty ones are white, or transparent.
    """
    size = tiles.shape[1]
    cells = np.clip(np.floor(places), 0, np.subtract(shape, 1)).astype(int)
    distance = np.square(places - cells - 0.5).sum(axis=1)
    channels = tiles.shape[3]
    grid = np.full((*shape, size, size, channels), 255, np.uint8)
    grid[..., 3:] = 0
    # The nearest to the centre of a cell is written last.
    for index in np.argsort(-distance, kind="stable"):
        grid[tuple(cells[index])] = tiles[index]
    rows, columns = shape
    picture = grid.transpose(0, 2, 1, 3, 4)
    return picture.reshape(rows * size, columns * size, channels)


def clear_margins(images: np.ndarray) -> np.ndarray:
    """Give images (N, H, W, 3) alpha: 0 in rows and columns white in all.

    On a page they then have its colour, whichever theme it has.
    """
    white = (images == 255).all(axis=(0, 3))
    margin = white.all(axis=1)[:, None] | white.all(axis=0)
    alpha = np.where(margin, 0, 255).astype(np.uint8)
    alpha = np.broadcast_to(alpha[None, ..., None], (*images.shape[:3], 1))
    return np.concatenate([images, alpha], axis=-1)


def encode_png(picture: np.ndarray) -> bytes:
    """The PNG file of a picture, uint8 (H, W, 3)."""
    return _encoded(picture, "PNG")


def encode_small(picture: np.ndarray, limit: int) -> bytes:
    """A JPEG, or WebP of (H, W, 4); the best quality in `limit` bytes or 40."""
    kind = "WEBP" if picture.shape[2] == 4 else "JPEG"
    for quality in (90, 75, 60, 40):
        found = _encoded(picture, kind, quality=quality)
        if len(found) <= limit:
            break
    return found


def shrink(picture: bytes, limit: int = 350_000, side: int = 1400) -> bytes:
    """Return a picture's file, or one that is small enough for a page.

    White lines through the whole of it, as in grids, become transparent.
    """
    pixels = _decoded(picture)
    cleared = clear_margins(pixels[None])[0]
    opaque = (cleared[..., 3] == 255).all()
    if opaque and len(picture) <= limit:
        return picture
    if not opaque:
        pixels = cleared
        found = encode_png(pixels)
        if len(found) <= limit:
            return found
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    shape = [max(1, round(length * scale)) for length in (height, width)]
    return encode_small(_resized(pixels[None], shape)[0], limit)


def data_type(picture: bytes) -> str | None:
    """The media type of a file of a picture, None for any other."""
    found = (kind for head, kind in _TYPES.items() if picture.startswith(head))
    return next(found, None)


def data_uri(picture: bytes) -> str:
    """A `data:` address that holds the file of a picture."""
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
