"""JPEG and PNG of every kind to upright RGB, as TensorFlow graph code."""

import struct

import numpy as np
import tensorflow as tf

# An Exif segment is at most so long, and its orientation stands near its
# beginning.
_HEAD = 2**16
_ORIENTATION_TAG = 0x0112
_LONG = 4
# The start of the image, a JFIF segment, its length, and what may follow it.
_PLAIN = np.array(
    [
        (0xFFD8, 0xFFE0, 16, marker)
        for marker in (0xFFDB, 0xFFC0, 0xFFC1, 0xFFC2, 0xFFC4, 0xFFDD, 0xFFFE)
    ],
    np.uint16,
)


def decode_rgb(contents: bytes | tf.Tensor) -> tf.Tensor:
    """Decode a JPEG or PNG image of any kind to RGB.

    Grey and CMYK become RGB; transparent pixels are laid over white, as a
    page shows them; 16 bits are cut to 8. A JPEG that says in its Exif data
    how the camera was held is turned upright.

    Args:
        contents: scalar string tensor.

    Returns:
        uint8 tensor `(h, w, 3)`.

    Example:
    ```python
    image = decode_rgb(tf.io.read_file("logo.png"))
    ```
    """
    decode_other = _decode_other
    if tf.executing_eagerly():
        # Without a graph TensorFlow's errors begin with what is wrong.
        decode_other = _decode_other.python_function
    image = tf.cond(
        _is_plain_jpeg(contents),
        lambda: _decode_jpeg(contents),
        lambda: decode_other(contents),
    )
    image.set_shape([None, None, 3])
    return image


def _is_plain_jpeg(contents):
    """Tell from a few bytes of most JPEGs that they hold no Exif data."""
    start = tf.io.decode_raw(
        tf.strings.substr(contents, 0, 22),
        tf.uint16,
        little_endian=False,
        fixed_length=22,
    )
    found = tf.gather(start, [0, 1, 2, 10])
    return tf.reduce_any(tf.reduce_all(found == _PLAIN, axis=1))


# A function of its own is one node of a graph that mostly does without it.
@tf.function(
    input_signature=[tf.TensorSpec([], tf.string)],
    experimental_attributes={"_noinline": True},
)
def _decode_other(contents):
    image = tf.cond(
        tf.strings.substr(contents, 0, 2) == b"\xff\xd8",
        lambda: upright(_decode_jpeg(contents), _read_orientation(contents)),
        lambda: _decode_png(contents),
    )
    return tf.ensure_shape(image, [None, None, 3])


def _decode_jpeg(contents):
    # TensorFlow's default, the fast transform: within 8 levels of Pillow's.
    return tf.io.decode_jpeg(contents, channels=3)


def _decode_png(contents):
    image = tf.io.decode_png(contents)
    channels = tf.shape(image)[-1]
    has_alpha = tf.logical_or(channels == 2, channels == 4)
    image = tf.cond(has_alpha, lambda: _over_white(image), lambda: image)
    channels = tf.shape(image)[-1]
    return tf.cond(
        channels == 1, lambda: tf.repeat(image, 3, axis=-1), lambda: image
    )


def _over_white(image):
    image = tf.cast(image, tf.float32)
    alpha = image[..., -1:] / 255.0
    colour = image[..., :-1] * alpha + 255.0 * (1.0 - alpha)
    return tf.cast(tf.round(colour), tf.uint8)


def orientation(head: bytes) -> int:
    """Read the Exif orientation of a JPEG.

    Args:
        head: bytes, the first 64 KiB of the file or all of it.

    Returns:
        int in 1 to 8; 1 where there is none or it is damaged.

    Reference: CIPA DC-008 (Exif 2.32), sections 4.5 and 4.6.
    """
    at = 2
    try:
        # Application segments come first, each with its length.
        while head[at] == 0xFF and head[at + 1] >> 4 == 0xE:
            if head[at + 4 : at + 10] == b"Exif\0\0":
                return _orientation_of_tiff(head[at + 10 :])
            at += 2 + struct.unpack_from(">H", head, at + 2)[0]
    except (IndexError, struct.error):
        pass
    return 1


def _orientation_of_tiff(tiff):
    order = "<" if tiff[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, entry)
        if tag == _ORIENTATION_TAG:
            code = order + ("I" if kind == _LONG else "H")
            (value,) = struct.unpack_from(code, tiff, entry + 8)
            return value if 1 <= value <= 8 else 1
    return 1


def _read_orientation(contents):
    def read(head):
        # bytes in a graph, an array without axes outside.
        return np.int64(orientation(np.asarray(head).item()))

    # Only for files with such segments: a call into Python costs little
    # beside them, and a parser in graph code would cost all others.
    head = tf.strings.substr(contents, 0, _HEAD)
    value = tf.numpy_function(read, [head], tf.int64, stateful=False)
    return tf.ensure_shape(value, [])


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn and mirror an image as its Exif orientation asks.

    Args:
        image: tensor `(h, w, 3)`.
        orientation: int64 scalar in 1 to 8.

    Returns:
        tensor `(h, w, 3)`, or `(w, h, 3)` for 5 to 8.
    """

    def has(*values):
        return tf.reduce_any(orientation == values)

    def change():
        turned = tf.cond(
            orientation >= 5,
            lambda: tf.transpose(image, [1, 0, 2]),
            lambda: image,
        )
        mirrored = [has(3, 4, 7, 8), has(2, 3, 6, 7)]
        return tf.reverse(turned, tf.boolean_mask([0, 1], mirrored))

    return tf.cond(orientation > 1, change, lambda: image)


def resize_and_crop(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Scale an image until it covers `size` and cuts out the centre.

    Args:
        image: uint8 tensor `(h, w, 3)`.
        size: tuple `(H, W)`.

    Returns:
        uint8 tensor `(H, W, 3)`; the image itself where it has that size.

    Example:
    ```python
    image = resize_and_crop(image, (224, 224))
    ```
    """
    shape = tf.shape(image)[:2]

    def change():
        scale = tf.reduce_max(tf.constant(size, tf.float64) / _float(shape))
        scaled = tf.cast(tf.round(scale * _float(shape)), tf.int32)
        scaled = tf.maximum(scaled, size)
        resized = tf.image.resize(image, scaled, antialias=True)
        top = (scaled - size) // 2
        patch = tf.slice(resized, [top[0], top[1], 0], [*size, 3])
        return tf.cast(tf.clip_by_value(tf.round(patch), 0, 255), tf.uint8)

    same = tf.reduce_all(shape == tf.constant(size))
    image = tf.cond(same, lambda: image, change)
    image.set_shape([*size, 3])
    return image


def _float(shape):
    return tf.cast(shape, tf.float64)
