"""Images as requests bring them, to batches that an encoder takes.

TensorFlow graph code: it becomes a part of the SavedModel. Whatever cannot be
right is an `InvalidArgumentError` that names the element of the batch.
"""

import tensorflow as tf

from minc_tf.data.decode import (
    decode_rgb,
    encoded_size,
    exceeds,
    is_jpeg_or_png,
)
from minc_tf.data.resize import resize_and_crop

#: How many images of a request are decoded at a time.
PARALLEL = 4

#: How many bad elements an error describes.
_DESCRIBED = 8


# tf.io.decode_image in map_fn ends at the first bad element, without its place.
def decode_requests(
    image_bytes: tf.Tensor, size: tuple[int, int], max_pixels: int
) -> tf.Tensor:
    """Decode JPEG and PNG files (B,) to uint8 images (B, H, W, 3).

    Others, and any above `max_pixels`, which are not decoded, are one
    InvalidArgumentError with the place and the reason of each.
    """
    image_bytes = some("image_bytes", image_bytes)

    def decode(place, contents):
        fault = _fault(contents, max_pixels)
        tf.debugging.assert_equal(fault, "")
        return place, resize_and_crop(decode_rgb(contents), size)

    count = tf.size(image_bytes, tf.int64)
    places = tf.range(count)
    # A data set can catch an error inside a graph. What it leaves out is made
    # up with blanks, of place -1.
    decoded = tf.data.Dataset.from_tensor_slices((places, image_bytes))
    decoded = decoded.map(decode, num_parallel_calls=PARALLEL)
    blank = (tf.constant(-1, tf.int64), tf.zeros((*size, 3), tf.uint8))
    blanks = tf.data.Dataset.from_tensors(blank).repeat()
    found, images = (
        decoded.ignore_errors()
        .concatenate(blanks)
        .take(count)
        .batch(tf.maximum(count, 1))
        .get_single_element()
    )
    bad = tf.sets.difference(places[tf.newaxis], found[tf.newaxis]).values
    message = tf.cond(
        tf.size(bad) > 0,
        lambda: _message(image_bytes, bad, max_pixels),
        lambda: "",
    )
    with tf.control_dependencies([_assert(tf.size(bad) == 0, message)]):
        return tf.ensure_shape(images, (None, *size, 3))


def fit_images(images: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resize and crop uint8 images (B, h, w, 3) to (B, H, W, 3)."""
    images = some("images", images)
    shape = tf.shape(images)
    text = tf.strings.reduce_join(tf.strings.as_string(shape), separator=", ")
    wanted = "expected shape (batch, height, width, 3); received ("
    message = tf.strings.join(["images have no pixels: ", wanted, text, ")"])
    with tf.control_dependencies(
        [_assert(tf.reduce_all(shape[1:3] > 0), message)]
    ):
        return resize_and_crop(images, size)


def check_views(images: tf.Tensor) -> tf.Tensor:
    """Refuse float32 images (B, H, W, 3) that are not finite, by place."""
    good = tf.reduce_all(tf.math.is_finite(images), axis=(1, 2, 3))
    bad = tf.where(tf.logical_not(good))[:, 0]
    fault = tf.fill(tf.shape(bad)[:1], "has pixel values that are not finite")
    message = _listed("images", bad, fault)
    with tf.control_dependencies([_assert(tf.reduce_all(good), message)]):
        return tf.identity(images)


def _fault(contents, max_pixels):
    """What is wrong with an image, as far as its header tells; else ""."""

    def of_size():
        size = encoded_size(contents)
        text = tf.strings.as_string(size)
        fault = tf.strings.join(
            [
                *("has ", text[1], " x ", text[0]),
                f" pixels, more than the {max_pixels} that are allowed",
            ]
        )
        return tf.where(exceeds(size, max_pixels), fault, "")

    return tf.case(
        [
            (tf.strings.length(contents) == 0, lambda: "is empty"),
            (is_jpeg_or_png(contents), of_size),
        ],
        default=lambda: "is neither JPEG nor PNG",
    )


def _message(image_bytes, bad, max_pixels):
    """Places and faults of bad elements, each of which is looked at again."""
    shown = bad[:_DESCRIBED]

    def fault(place):
        known = tf.data.Dataset.from_tensors(image_bytes[place])
        known = known.map(lambda contents: _fault(contents, max_pixels))
        known = known.filter(lambda text: text != "").ignore_errors()
        damaged = tf.data.Dataset.from_tensors("is damaged or cut off")
        return known.concatenate(damaged).take(1).get_single_element()

    faults = tf.map_fn(fault, shown, fn_output_signature=tf.string)
    return _listed("image_bytes", bad, faults)


def _listed(name, bad, faults):
    shown = bad[:_DESCRIBED]
    places = tf.strings.as_string(shown)
    texts = tf.strings.join([f"{name}[", places, "] ", faults[:_DESCRIBED]])
    rest = tf.size(bad) - tf.size(shown)
    more = tf.strings.join(["; and ", tf.strings.as_string(rest), " more"])
    return tf.strings.join(
        [
            tf.strings.reduce_join(texts, separator="; "),
            tf.where(rest > 0, more, ""),
        ]
    )


def some(name: str, batch: tf.Tensor) -> tf.Tensor:
    """Refuse an empty batch."""
    given = _assert(tf.shape(batch)[0] > 0, f"{name} is an empty batch")
    with tf.control_dependencies([given]):
        return tf.identity(batch)


def _assert(condition, message):
    return tf.debugging.Assert(condition, [message])
