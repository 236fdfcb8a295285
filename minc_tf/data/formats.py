"""The kinds of image files: which there are, and who decodes them.

TensorFlow decodes JPEG, PNG, GIF and BMP, Pillow some others, where it is
installed. Here are kinds and sizes, and the decoding of all but JPEG and PNG,
in Python.
"""

import functools
import importlib.util
import io
import struct

import numpy as np
import tensorflow as tf

from minc_tf.data.decode import decode_rgb, encoded_size, is_jpeg_or_png
from minc_tf.data.files import BadImageError
from minc_tf.data.limits import (
    DECODING_BYTES,
    LARGE_PIXELS,
    MemoryBudget,
    too_large,
)

#: The suffixes of the files that TensorFlow decodes.
TENSORFLOW_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif"),
    *(".png", ".gif", ".bmp"),
)
#: Of these, those of the files that a graph without Python decodes.
PORTABLE_SUFFIXES = TENSORFLOW_SUFFIXES[:5]
#: Those of the files that Pillow decodes, and what it calls their kind.
_PILLOW_SUFFIXES = {
    ".avif": "AVIF",
    ".jp2": "JPEG2000",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
#: Images all the same, which nothing here decodes.
_OTHER_SUFFIXES = (".heic", ".heif", ".jxl")
#: The suffixes of all files that are images.
IMAGE_SUFFIXES = (*TENSORFLOW_SUFFIXES, *_PILLOW_SUFFIXES, *_OTHER_SUFFIXES)

_STARTS = (
    ("JPEG", b"\xff\xd8\xff"),
    ("PNG", b"\x89PNG\r\n\x1a\n"),
    ("GIF", b"GIF8"),
    ("BMP", b"BM"),
    ("TIFF", b"II*\0"),
    ("TIFF", b"MM\0*"),
    ("JPEG2000", b"\0\0\0\x0cjP  \r\n\x87\n"),
    ("JPEG2000", b"\xff\x4f\xff\x51"),
    ("JPEG XL", b"\xff\x0a"),
    ("JPEG XL", b"\0\0\0\x0cJXL \r\n\x87\n"),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"mif1": "HEIC"}
#: Bytes a pixel that decoding takes at its peak.
_BYTES_A_PIXEL = {"JPEG": 10, "PNG": 8, "GIF": 8, "BMP": 8}
_WITH_ALPHA = 28

_BUDGET = MemoryBudget(DECODING_BYTES)

#: What TensorFlow raises about the contents of an image, and nothing else: no
#: lack of memory, and no end of the work.
DECODE_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.OutOfRangeError,
    tf.errors.UnimplementedError,
)


@functools.cache
def pillow_kinds() -> frozenset[str]:
    """The kinds of images that the Pillow that is installed decodes."""
    if importlib.util.find_spec("PIL") is None:
        return frozenset()
    from PIL import Image

    Image.init()
    return frozenset(_PILLOW_SUFFIXES.values()) & frozenset(Image.OPEN)


def why_not_read(suffix: str) -> str | None:
    """Say why files of an image's suffix are not read; `None` if they are.

    Args:
        suffix: str of `IMAGE_SUFFIXES`, such as `".webp"`.
    """
    kind = _PILLOW_SUFFIXES.get(suffix)
    if suffix in TENSORFLOW_SUFFIXES or kind in pillow_kinds():
        return None
    if kind is None:
        return f"{suffix} files are not read: convert them"
    return f"{suffix} files are read with Pillow: pip install pillow"


def kind_of(contents: bytes) -> str | None:
    """Tell the kind of an image by its first bytes.

    Args:
        contents: bytes, the file.

    Returns:
        str, such as `"JPEG"`; `None` for what is no image that is known.
    """
    for kind, start in _STARTS:
        if contents.startswith(start):
            return kind
    if contents[:4] == b"RIFF" and contents[8:12] == b"WEBP":
        return "WEBP"
    return _BRANDS.get(contents[8:12]) if contents[4:8] == b"ftyp" else None


def check_contents(contents: bytes, max_pixels: int) -> tuple:
    """Look at an image's header, before it is decoded.

    Args:
        contents: bytes, the file.
        max_pixels: int, the most pixels that it may have.

    Returns:
        A tuple of its kind, str, and its size as stored, `(height, width)`.

    Raises:
        BadImageError: If it is empty, of no kind that is read, has a damaged
            header or too many pixels.

    Example:
    ```python
    kind, (height, width) = check_contents(contents, 2**25)
    ```
    """
    if not contents:
        raise BadImageError("empty")
    kind = kind_of(contents)
    if kind not in ("JPEG", "PNG", "GIF", "BMP") and kind not in pillow_kinds():
        known = kind in _PILLOW_SUFFIXES.values()
        raise BadImageError(
            f"{kind}, which is read with Pillow: pip install pillow"
            if known
            else f"{kind}, which is not read: convert it"
            if kind
            else "no image of a kind that is read"
        )
    try:
        if kind == "PNG":
            size = struct.unpack(">II", contents[16:24])[::-1]
        elif kind == "JPEG":
            shape = tf.io.extract_jpeg_shape(contents).numpy()
            size = tuple(shape[:2].tolist())
        elif kind == "GIF":
            size = _gif_size(contents)
        elif kind == "BMP":
            size = _bmp_size(contents)
        elif kind == "WEBP":
            size = _webp_size(contents)
        else:
            size = _open(contents).size[::-1]
    except (struct.error, IndexError, *DECODE_ERRORS) as error:
        raise BadImageError(f"damaged: {first_line(error)}") from error
    fault = too_large(*size, max_pixels)
    if fault or not all(size):
        raise BadImageError(fault or "damaged: it has no pixels")
    return kind, size


def decode_image(
    contents: bytes, max_pixels: int, finish=lambda image: image
) -> tf.Tensor:
    """Decode an image of any kind; large ones wait for memory.

    Args:
        contents: bytes, the file.
        max_pixels: int, the most pixels that it may have.
        finish: function of the image, called while its memory is reserved.

    Returns:
        What `finish` returns of a uint8 tensor `(h, w, 3)`.

    Raises:
        BadImageError: If something is wrong with the file.
        MemoryError: If there is not enough memory.

    Example:
    ```python
    image = decode_image(pathlib.Path("logo.webp").read_bytes(), 2**25)
    ```
    """
    kind, (height, width) = check_contents(contents, max_pixels)
    each = _BYTES_A_PIXEL.get(kind, _WITH_ALPHA)
    opaque = contents[25:26] in (b"\0", b"\2") and b"tRNS" not in contents
    if kind == "PNG" and not opaque:
        each = _WITH_ALPHA
    large = height * width > LARGE_PIXELS
    with _BUDGET.reserve(each * height * width if large else 0):
        try:
            with tf.device("CPU:0"):
                return finish(_DECODERS.get(kind, _decode_pillow)(contents))
        except DECODE_ERRORS as error:
            raise BadImageError(f"damaged: {first_line(error)}") from error
        except tf.errors.ResourceExhaustedError as error:
            # TensorFlow passes on this one, but not its own, out of Python.
            raise MemoryError(
                f"too little memory for an image of {width} x {height} pixels "
                f"({first_line(error)}); see max_pixels"
            ) from error


def graph_decode_image(
    contents: tf.Tensor,
    max_pixels: int,
    size: tuple[int, int] | None,
    finish,
    *,
    portable: bool = False,
) -> tf.Tensor:
    """Decode an image of any kind inside a graph.

    Small JPEG and PNG stay in the graph, the others are decoded in Python,
    which bounds their memory.

    Args:
        contents: scalar string tensor, the file.
        max_pixels: int, the most pixels that it may have.
        size: tuple `(H, W)` that `finish` makes of an image; `None` for any.
        finish: function of a uint8 image `(h, w, 3)`.
        portable: bool, whether there may be no Python: then the image must
            be a JPEG or PNG.

    Returns:
        uint8 tensor `(H, W, 3)`. What is wrong with a file is TensorFlow's
        `InvalidArgumentError`.
    """
    contents = tf.convert_to_tensor(contents)
    plain = is_jpeg_or_png(contents)
    dims = tf.cond(
        plain,
        lambda: encoded_size(contents),
        lambda: tf.zeros([2], tf.int64),
    )
    # Divided, since a product of such numbers can be too large.
    over = dims[0] > max_pixels // tf.maximum(dims[1], 1)
    small = dims[0] <= LARGE_PIXELS // tf.maximum(dims[1], 1)
    direct = plain & small & tf.logical_not(over)

    def other(contents):
        image = decode_image(contents, max_pixels, finish)
        return image.numpy()

    def outside():
        return tf.numpy_function(other, [contents], tf.uint8, stateful=False)

    if portable:
        fits = tf.debugging.Assert(
            tf.logical_and(plain, tf.logical_not(over)),
            [f"image must be a JPEG or PNG of at most {max_pixels} pixels"],
        )
        with tf.control_dependencies([fits]):
            return finish(decode_rgb(tf.identity(contents)))
    image = tf.cond(direct, lambda: finish(decode_rgb(contents)), outside)
    return tf.ensure_shape(image, [*(size or (None, None)), 3])


def first_line(error: BaseException) -> str:
    """Return what an error says first, without where TensorFlow says it."""
    text = getattr(error, "message", None) or str(error)
    text = text.splitlines()[0] if text else type(error).__name__
    _, brace, tail = text.partition("}}")
    return (tail if brace else text).split(" [Op:")[0].strip()


def _gif_size(contents):
    """The size of the first frame's canvas, which holds the frame."""
    width, height, flags = struct.unpack("<HHB", contents[6:11])
    place = _gif_frame(contents, flags)
    left, top, w, h = struct.unpack("<HHHH", contents[place + 1 : place + 9])
    return max(height, top + h), max(width, left + w)


def _gif_frame(contents, flags):
    """Where the first frame begins, behind colours and extensions."""
    place = 13 + (3 << ((flags & 7) + 1) if flags & 128 else 0)
    while contents[place] == 0x21:
        place = _gif_blocks(contents, place + 2)
    if contents[place] != 0x2C:
        raise IndexError("there is no frame")
    return place


def _gif_blocks(contents, place):
    """Where a sequence of blocks ends."""
    while contents[place]:
        place += 1 + contents[place]
    return place + 1


def _decode_gif(contents):
    # TensorFlow would unpack every frame of an animation to show the first.
    try:
        place = _gif_frame(contents, contents[10])
        flags = contents[place + 9]
        start = place + 10 + (3 << ((flags & 7) + 1) if flags & 128 else 0)
        end = _gif_blocks(contents, start + 1)
    except IndexError as error:
        raise BadImageError("damaged: it is cut off") from error
    alone = contents[:end] + b";"
    if pillow_kinds():
        return _decode_pillow(alone, "GIF")
    return tf.io.decode_image(alone, 3, expand_animations=False)


def _webp_size(contents):
    # Pillow makes room for all of the image when it opens it.
    chunk = contents[12:16]
    if chunk == b"VP8X":
        sizes = struct.unpack("<HBHB", contents[24:30])
        width, height = (1 + a + (b << 16) for a, b in (sizes[:2], sizes[2:]))
    elif chunk == b"VP8L":
        bits = struct.unpack("<I", contents[21:25])[0]
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = struct.unpack("<HH", contents[26:30])
        width, height = width & 0x3FFF, height & 0x3FFF
    return height, width


def _bmp_size(contents):
    width, height = struct.unpack("<ii", contents[18:26])
    if struct.unpack("<I", contents[14:18])[0] == 12:  # of OS/2
        width, height = struct.unpack("<HH", contents[18:22])
    if width < 0:
        raise IndexError("its width is negative")
    return abs(height), width


def _decode_bmp(contents):
    if pillow_kinds():
        return _decode_pillow(contents, "BMP")
    bits, compression = struct.unpack("<HI", contents[28:34].ljust(6, b"\0"))
    if bits not in (24, 32) or compression not in (0, 3):
        # TensorFlow would take the numbers of colours for levels of grey.
        raise BadImageError(
            "BMP of few colours, which is read with Pillow: pip install pillow"
        )
    return tf.io.decode_bmp(contents)[..., :3]


def _open(contents, kind=None):
    """Open an image with Pillow, which reads its header."""
    from PIL import Image

    kind = kind or kind_of(contents)
    try:
        return Image.open(io.BytesIO(contents), formats=[kind])
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise BadImageError(f"too large: {first_line(error)}") from error
    except Exception as error:
        # Pillow's readers raise whatever a damaged file leads them to.
        raise BadImageError(f"damaged: {first_line(error)}") from error


def _decode_pillow(contents, kind=None):
    from PIL import Image, ImageOps

    image = _open(contents, kind)
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            high = (np.asarray(image) >> 8).astype(np.uint8)
            image = Image.fromarray(high)
        if image.mode in ("I", "F"):
            raise BadImageError(
                f"of pixels of 32 bits ({image.mode}), whose range is unknown"
            )
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return tf.constant(np.asarray(image.convert("RGB")))
    except (BadImageError, MemoryError):
        raise
    except Exception as error:
        # As above: it decodes only here.
        raise BadImageError(f"damaged: {first_line(error)}") from error


_DECODERS = {
    "JPEG": decode_rgb,
    "PNG": decode_rgb,
    "GIF": _decode_gif,
    "BMP": _decode_bmp,
}
