"""The decoding of images of every kind, within a budget of memory.

JPEG and PNG are decoded in a graph where they are small, all others in Python.
"""

import struct

import numpy as np
import tensorflow as tf

from minc_tf.data import formats
from minc_tf.data.decode import (
    decode_rgb,
    encoded_size,
    exceeds,
    is_jpeg_or_png,
)
from minc_tf.data.files import BadImageError
from minc_tf.data.limits import DECODING_BYTES, LARGE_PIXELS, MemoryBudget

#: Bytes a pixel that decoding takes at its peak.
_BYTES_A_PIXEL = {"JPEG": 10, "PNG": 8, "GIF": 8, "BMP": 8}
_WITH_ALPHA = 28

_BUDGET = MemoryBudget(DECODING_BYTES)


def decode_image(
    contents: bytes, max_pixels: int, finish=lambda image: image
) -> tf.Tensor:
    """Decode a file of any kind to uint8 (h, w, 3); large ones wait for memory.

    Returns what `finish` makes of it, called while its memory is reserved.
    """
    kind, (height, width) = formats.check_contents(contents, max_pixels)
    each = _BYTES_A_PIXEL.get(kind, _WITH_ALPHA)
    opaque = contents[25:26] in (b"\0", b"\2") and b"tRNS" not in contents
    if kind == "PNG" and not opaque:
        each = _WITH_ALPHA
    large = height * width > LARGE_PIXELS
    with _BUDGET.reserve(each * height * width if large else 0):
        try:
            with tf.device("CPU:0"):
                return finish(_DECODERS.get(kind, _decode_pillow)(contents))
        except formats.DECODE_ERRORS as error:
            raise BadImageError(
                f"damaged: {formats.first_line(error)}"
            ) from error
        except tf.errors.ResourceExhaustedError as error:
            # TensorFlow passes on this one, but not its own, out of Python.
            raise MemoryError(
                f"too little memory for an image of {width} x {height} pixels "
                f"({formats.first_line(error)}); see max_pixels"
            ) from error


def graph_decode_image(
    contents: tf.Tensor,
    max_pixels: int,
    size: tuple[int, int] | None,
    finish,
    *,
    portable: bool = False,
) -> tf.Tensor:
    """Decode a file of any kind inside a graph, and `finish` it to (H, W, 3).

    Small JPEG and PNG stay in the graph, Python decodes the others and bounds
    their memory; where `portable` there is no Python, and no other kind. `size`
    is (H, W). A file's fault is TensorFlow's `InvalidArgumentError`.
    """
    contents = tf.convert_to_tensor(contents)
    plain = is_jpeg_or_png(contents)
    dims = tf.cond(
        plain,
        lambda: encoded_size(contents),
        lambda: tf.zeros([2], tf.int64),
    )
    over = exceeds(dims, max_pixels)
    small = tf.logical_not(exceeds(dims, LARGE_PIXELS))
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


def _decode_gif(contents):
    # TensorFlow would unpack every frame of an animation to show the first.
    try:
        place = formats.gif_frame(contents, contents[10])
        flags = contents[place + 9]
        start = place + 10 + (3 << ((flags & 7) + 1) if flags & 128 else 0)
        end = formats.gif_blocks(contents, start + 1)
    except IndexError as error:
        raise BadImageError("damaged: it is cut off") from error
    alone = contents[:end] + b";"
    if formats.pillow_kinds():
        return _decode_pillow(alone, "GIF")
    return tf.io.decode_image(alone, 3, expand_animations=False)


def _decode_bmp(contents):
    if formats.pillow_kinds():
        return _decode_pillow(contents, "BMP")
    bits, compression = struct.unpack("<HI", contents[28:34].ljust(6, b"\0"))
    if bits not in (24, 32) or compression not in (0, 3):
        # TensorFlow would take the numbers of colours for levels of grey.
        raise BadImageError(
            "BMP of few colours, which is read with Pillow: pip install pillow"
        )
    return tf.io.decode_bmp(contents)[..., :3]


def _decode_pillow(contents, kind=None):
    from PIL import Image, ImageOps

    image = formats.open_with_pillow(contents, kind)
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
        raise BadImageError(f"damaged: {formats.first_line(error)}") from error


_DECODERS = {
    "JPEG": decode_rgb,
    "PNG": decode_rgb,
    "GIF": _decode_gif,
    "BMP": _decode_bmp,
}
