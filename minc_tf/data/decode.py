"""JPEG and PNG of every kind to upright RGB, as TensorFlow graph code."""

import numpy as np
import tensorflow as tf

# An Exif segment is at most so long, and its orientation stands near its
# beginning.
_HEAD = 2**16
_ORIENTATION_TAG = 0x0112
_LONG = 4
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
# The start of the image, a JFIF segment, its length, and what may follow it.
_PLAIN = np.array(
    [
        (0xFFD8, 0xFFE0, 16, marker)
        for marker in (0xFFDB, 0xFFC0, 0xFFC1, 0xFFC2, 0xFFC4, 0xFFDD, 0xFFFE)
    ],
    np.uint16,
)


def decode_rgb(contents: bytes | tf.Tensor) -> tf.Tensor:
    """Decode a JPEG or PNG of any kind to RGB, uint8 (h, w, 3).

    Transparent pixels are laid over white, as a page shows them; 16 bits are
    cut to 8; a JPEG with an Exif orientation is turned upright.
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


def is_jpeg_or_png(contents: bytes | tf.Tensor) -> tf.Tensor:
    """Tell from its first bytes whether a file is a JPEG or PNG."""
    return tf.logical_or(_starts(contents, _JPEG), _starts(contents, _PNG))


def encoded_size(contents: bytes | tf.Tensor) -> tf.Tensor:
    """Read (height, width), int64, from the header of a JPEG or PNG.

    As stored, before an Exif orientation turns it; of a damaged header it is
    TensorFlow's own error, or any number.
    """
    return tf.cond(
        _starts(contents, _JPEG),
        lambda: tf.cast(tf.io.extract_jpeg_shape(contents)[:2], tf.int64),
        lambda: _png_size(contents),
    )


def exceeds(size: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Tell whether a size, int64 `(height, width)`, is of more pixels."""
    # Divided, since a product of such numbers can be too large.
    return size[0] > max_pixels // tf.maximum(size[1], 1)


def _png_size(contents):
    # The first chunk begins with the width and the height.
    digits = tf.io.decode_raw(
        tf.strings.substr(contents, 16, 8), tf.uint8, fixed_length=8
    )
    digits = tf.reshape(tf.cast(digits, tf.int64), (2, 4))
    powers = tf.constant([2**24, 2**16, 2**8, 1], tf.int64)
    return tf.gather(tf.reduce_sum(digits * powers, axis=1), [1, 0])


def _starts(contents, start):
    return tf.strings.substr(contents, 0, len(start)) == start


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
        _starts(contents, _JPEG[:2]),
        lambda: upright(_decode_jpeg(contents), exif_orientation(contents)),
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
    # In whole numbers, rounded as fractions would be, in half their memory.
    alpha = tf.cast(image[..., -1:], tf.uint16)
    colour = tf.cast(image[..., :-1], tf.uint16) * alpha
    return tf.cast((colour + 255 * (255 - alpha) + 127) // 255, tf.uint8)


# Outside a graph this is one call instead of many.
@tf.function(
    input_signature=[tf.TensorSpec([], tf.string)],
    experimental_attributes={"_noinline": True},
)
def exif_orientation(contents: bytes | tf.Tensor) -> tf.Tensor:
    """Read the Exif orientation of a JPEG, 1 to 8; 1 if none or damaged.

    CIPA DC-008 (Exif 2.32), sections 4.5 and 4.6.
    """
    contents = tf.strings.substr(contents, 0, _HEAD)
    size = tf.cast(tf.strings.length(contents), tf.int64)
    # What lies behind the end reads as zeros, which mean nothing.
    head = tf.io.decode_raw(contents, tf.uint8, fixed_length=_HEAD + 10)

    def segment(at):
        at = tf.minimum(at, size)
        found = head[at : at + 10]
        application = tf.logical_and(found[0] == 0xFF, found[1] // 16 == 0xE)
        exif = tf.reduce_all(found[4:] == tuple(b"Exif\0\0"))
        return found, application, tf.logical_and(application, exif)

    def is_another(at):
        _, application, exif = segment(at)
        return tf.logical_and(application, tf.logical_not(exif))

    def after(at):
        length = tf.cast(segment(at)[0][2:4], tf.int64)
        return (at + 2 + 256 * length[0] + length[1],)

    # Application segments come first, each with its length.
    (at,) = tf.while_loop(is_another, after, [tf.constant(2, tf.int64)])
    tiff = tf.where(segment(at)[2], tf.minimum(at + 10, size), size)
    return _orientation_of_tiff(head[tiff:], size - tiff)


def _orientation_of_tiff(tiff, size):
    """Look it up; `tiff` goes on with zeros behind its `size`."""
    little = tf.reduce_all(tiff[:2] == tuple(b"II"))

    def number(at, width):
        places = tf.minimum(at, size)[..., tf.newaxis]
        digits = tf.gather(tiff, places + tf.range(width, dtype=tf.int64))
        powers = [256**i for i in range(width)]
        # Reversed here: of a constant reversed in the graph TensorFlow's
        # optimizer logs an error.
        powers = tf.where(
            little,
            tf.constant(powers, tf.int64),
            tf.constant(powers[::-1], tf.int64),
        )
        return tf.reduce_sum(tf.cast(digits, tf.int64) * powers, -1)

    first = number(tf.constant(4, tf.int64), 4)
    count = tf.minimum(number(first, 2), size // 12)
    entries = first + 2 + 12 * tf.range(count)
    is_it = number(entries, 2) == _ORIENTATION_TAG
    entry = tf.boolean_mask(entries, is_it)[:1]
    is_long = number(entry + 2, 2) == _LONG
    value = tf.where(is_long, number(entry + 8, 4), number(entry + 8, 2))
    width = tf.cast(tf.where(is_long, 4, 2), tf.int64)
    whole = entry + 8 + width <= size
    known = tf.logical_and(whole, tf.logical_and(value >= 1, value <= 8))
    # There may be no entry, whose maximum is the smallest integer.
    return tf.maximum(tf.reduce_max(tf.where(known, value, 1)), 1)


def upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn and mirror an image (h, w, 3) as its Exif orientation asks."""

    def has(*values):
        return tf.reduce_any(orientation == values)

    def change():
        turned = tf.cond(
            orientation >= 5, lambda: _transposed(image), lambda: image
        )
        mirrored = [has(3, 4, 7, 8), has(2, 3, 6, 7)]
        return tf.reverse(turned, tf.boolean_mask([0, 1], mirrored))

    return tf.cond(orientation > 1, change, lambda: image)


def _transposed(image):
    """Rows to columns, (h, w, 3) -> (w, h, 3)."""
    # Not tf.transpose, of which oneDNN logs an error where pixels are no
    # floats. Blocks of one row: the i-th pixels of all of them are a batch.
    width = tf.shape(image)[1]
    return tf.space_to_batch(
        tf.reshape(image, (1, -1, 3)), block_shape=[width], paddings=[[0, 0]]
    )
