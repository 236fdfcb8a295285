"""The kinds of image files, and what is wrong with one by its header.

TensorFlow decodes JPEG, PNG, GIF and BMP, Pillow some others, where it is
installed; see `minc_tf.data.decoding`.
"""

import functools
import importlib.util
import io
import struct

import tensorflow as tf

from minc_tf.data.files import BadImageError, read_image_file
from minc_tf.data.limits import too_large

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
#: What is wrong with an image whose header is as it should be.
DAMAGED = "damaged"

_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"mif1": "HEIC"}
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
    """Say why files of a suffix of `IMAGE_SUFFIXES` are not read, if so."""
    kind = _PILLOW_SUFFIXES.get(suffix)
    if suffix in TENSORFLOW_SUFFIXES or kind in pillow_kinds():
        return None
    if kind is None:
        return f"{suffix} files are not read: convert them"
    return f"{suffix} files are read with Pillow: pip install pillow"


def kind_of(contents: bytes) -> str | None:
    """Tell the kind of an image, such as `"JPEG"`, by its first bytes."""
    for kind, start in _STARTS:
        if contents.startswith(start):
            return kind
    if contents[:4] == b"RIFF" and contents[8:12] == b"WEBP":
        return "WEBP"
    return _BRANDS.get(contents[8:12]) if contents[4:8] == b"ftyp" else None


def check_contents(contents: bytes, max_pixels: int) -> tuple:
    """Read an image's kind and its size as stored, (height, width), to check.

    What its header says is wrong is a BadImageError, before it is decoded.
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
            size = open_with_pillow(contents).size[::-1]
    except (struct.error, IndexError, *DECODE_ERRORS) as error:
        raise BadImageError(f"damaged: {first_line(error)}") from error
    fault = too_large(*size, max_pixels)
    if fault or not all(size):
        raise BadImageError(fault or "damaged: it has no pixels")
    return kind, size


def fault_of_file(path: str, max_pixels: int) -> str:
    """Tell in a few words why an image file cannot be decoded.

    It is `"damaged"` where its header is as it should be.
    """
    try:
        return fault_of_contents(read_image_file(path), max_pixels)
    except BadImageError as error:
        return short_fault(error)


def fault_of_contents(contents: bytes, max_pixels: int) -> str:
    """As `fault_of_file`, of what the file holds."""
    try:
        check_contents(contents, max_pixels)
    except BadImageError as error:
        return short_fault(error)
    return DAMAGED


def short_fault(error: BadImageError) -> str:
    """What is wrong with an image, without the details of a damage."""
    short = str(error).partition(":")[0]
    return short if short in (DAMAGED, "unreadable") else str(error)


def first_line(error: BaseException) -> str:
    """Return what an error says first, without where TensorFlow says it."""
    text = getattr(error, "message", None) or str(error)
    text = text.splitlines()[0] if text else type(error).__name__
    _, brace, tail = text.partition("}}")
    return (tail if brace else text).split(" [Op:")[0].strip()


def _gif_size(contents):
    """The size of the first frame's canvas, which holds the frame."""
    width, height, flags = struct.unpack("<HHB", contents[6:11])
    place = gif_frame(contents, flags)
    left, top, w, h = struct.unpack("<HHHH", contents[place + 1 : place + 9])
    return max(height, top + h), max(width, left + w)


def gif_frame(contents, flags):
    """Where the first frame begins, behind colours and extensions."""
    place = 13 + (3 << ((flags & 7) + 1) if flags & 128 else 0)
    while contents[place] == 0x21:
        place = gif_blocks(contents, place + 2)
    if contents[place] != 0x2C:
        raise IndexError("there is no frame")
    return place


def gif_blocks(contents, place):
    """Where a sequence of blocks ends."""
    while contents[place]:
        place += 1 + contents[place]
    return place + 1


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


def open_with_pillow(contents, kind=None):
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
