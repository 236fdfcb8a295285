"""A picture of what a search found."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from minc_tf._files import replacing
from minc_tf.data.files import BadImageError
from minc_tf.data.limits import MAX_PIXELS
from minc_tf.evaluation.embedding.named_images import FileImages

_GAP, _TEXT = 8, 14


def contact_sheet(
    found: Sequence[dict],
    images: str | os.PathLike,
    out: str | os.PathLike,
    *,
    side: int = 112,
    max_pixels: int = MAX_PIXELS,
) -> None:
    """Draw each image that was searched with, and beside it what was found.

    Images are cut to squares; under each that was found is its cosine. One
    that is no longer there, or cannot be decoded, is left grey.

    Args:
        found: what `search_images` returns; bad images are left out.
        images: path of the folder that the names in it are relative to, that
            of `index.metadata["images"]` where it has not moved.
        out: path of the picture, `.png` or `.jpg`.
        side: int, pixels of a square.
        max_pixels: int, the most pixels of an image; one of more stays grey.

    Raises:
        FileNotFoundError: none of the images that were found is there.
        ValueError: the picture cannot be written, or its suffix is another.

    Example:
    ```python
    found = minc_tf.search.search_images(
        "index", "savedmodels/shapes", "photo.jpg", k=5
    )
    minc_tf.search.contact_sheet(found, "photos", "found.png")
    ```
    """
    out = check_picture(out)
    rows = [row for row in found if "found" in row]
    columns = 1 + max((len(row["found"]) for row in rows), default=0)
    step, height = side + _GAP, side + _GAP + _TEXT
    size = (columns * step + 2 * _GAP, len(rows) * height + _GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    there = 0
    for y, row in enumerate(rows):
        top = _GAP + y * height
        sheet.paste(_square(row["image"], side, max_pixels)[0], (_GAP, top))
        for x, match in enumerate(row["found"], start=1):
            # A wider gap parts what was asked from what was found.
            left = 2 * _GAP + x * step
            path = os.path.join(images, match["name"])
            square, good = _square(path, side, max_pixels)
            there += good
            sheet.paste(square, (left, top))
            text = f"{match['cosine']:.3f}"
            draw.text((left, top + side + 1), text, fill="black")
    if not there:
        name = rows[0]["found"][0]["name"] if rows else "none"
        raise FileNotFoundError(
            "images must be the folder of the images that were found, such as "
            f"{name!r}; {str(images)!r} has none of them"
        )
    with replacing(out) as part:
        sheet.save(part)


def check_picture(out: str | os.PathLike) -> pathlib.Path:
    """Return the path of a picture to write; refuse one that cannot be."""
    out = pathlib.Path(out)
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(
            f"the picture must end in .png or .jpg; received {str(out)!r}"
        )
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise ValueError(
            "the picture must be in a folder that exists; received "
            f"{str(out)!r}"
        )
    return out


def _square(path, side, max_pixels):
    """A square of an image, grey for one that is bad; whether it is good."""
    named = FileImages([path], [path], "", max_pixels=max_pixels)
    try:
        pixels, good = named.again(0, (side, side))[0], True
    except BadImageError:
        pixels, good = np.full((side, side, 3), 200, np.uint8), False
    return Image.fromarray(pixels), good
