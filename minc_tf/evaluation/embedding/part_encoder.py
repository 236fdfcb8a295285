"""The vectors of one part after another: TensorFlow code of a worker."""

import concurrent.futures
import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from minc_tf.data.decoding import decode_image, graph_decode_image
from minc_tf.data.files import BadImageError
from minc_tf.data.formats import fault_of_contents, short_fault
from minc_tf.data.resize import resize_and_crop


class Contents:
    """Encoded images, of any kind, to decode."""

    dtype = tf.string

    def __init__(self, max_pixels: int):
        self._max_pixels = max_pixels

    def at(self, contents: tf.Tensor, size: tuple[int, int]) -> dict:
        """Return `image` and `label` of contents, in a graph."""
        image = graph_decode_image(
            contents,
            self._max_pixels,
            size,
            lambda image: resize_and_crop(image, size),
        )
        return {"image": image, "label": tf.constant(-1, tf.int64)}

    def again(self, contents: bytes, size: tuple[int, int]) -> tuple:
        """Return what `at` could not, outside a graph."""
        image = decode_image(
            contents,
            self._max_pixels,
            lambda image: resize_and_crop(image, size),
        )
        return image.numpy(), np.int64(-1)

    def reason(self, contents: bytes) -> str:
        """Tell what is wrong with contents."""
        return fault_of_contents(contents, self._max_pixels)


class Numbers:
    """Images of a data set by their numbers; `named` as `named_images` has."""

    dtype = tf.int64

    def __init__(self, named):
        self.at, self.again, self.reason = named.at, named.again, named.reason


class PartEncoder:
    """Decodes images and embeds them, (B, H, W, 3) to (B, D); traced once."""

    def __init__(
        self,
        encode: Callable,
        images: Contents | Numbers,
        size: tuple[int, int],
        batch_size: int,
    ):
        self._encode, self._images = encode, images
        self._size, self._batch_size = size, batch_size
        self._decode = tf.function(
            self._decoded,
            input_signature=[tf.TensorSpec([None], images.dtype)],
            autograph=False,
        )

    def __call__(
        self, items: Iterable[tuple[bytes | np.int64 | BadImageError, int]]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, list[str | None]]]:
        """Yield vectors (b, D), labels (b,) and faults of each batch.

        The vector of an image with a fault means nothing.
        """
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            items = iter(items)
            coming = pool.submit(self._prepare, items)
            while (found := coming.result()) is not None:
                coming = pool.submit(self._prepare, items)
                images, labels, faults = found
                vectors = np.array(self._encode(images), np.float32)
                for row in np.flatnonzero(~np.isfinite(vectors).all(axis=1)):
                    faults[row] = faults[row] or "its vector is not finite"
                yield vectors, labels, faults

    def _prepare(self, items):
        """Images, labels and faults of the next items; None at the end."""
        items = list(itertools.islice(items, self._batch_size))
        if not items:
            return None
        contents, labels = zip(*items, strict=True)
        labels = np.array(labels, np.int64)
        faults = [
            short_fault(one) if isinstance(one, BadImageError) else None
            for one in contents
        ]
        good = [row for row, fault in enumerate(faults) if fault is None]
        images = np.zeros((len(items), *self._size, 3), np.uint8)
        if good:
            readable = [contents[row] for row in good]
            found = self._decode(tf.constant(readable, self._images.dtype))
            decoded, known, whole = (value.numpy() for value in found)
            images[good] = decoded
            labels[good] = np.where(known < 0, labels[good], known)
            for row, one, fine in zip(good, readable, whole, strict=True):
                if not fine:
                    faults[row] = self._images.reason(one)
        return images, labels, faults

    def _decoded(self, contents):
        """Images (b, H, W, 3), labels and whether they are good, in a graph."""

        def first(one):
            found = self._images.at(one, self._size)
            return found["image"], found["label"], True

        def again(one):
            """Decode in Python, whose errors tell if the image is to blame."""
            try:
                return (*self._images.again(one, self._size), True)
            except BadImageError:
                return np.zeros((*self._size, 3), np.uint8), np.int64(-1), False

        def second(one):
            image, label, good = tf.numpy_function(
                again, [one], [tf.uint8, tf.int64, tf.bool], stateful=False
            )
            image = tf.ensure_shape(image, (*self._size, 3))
            return image, tf.ensure_shape(label, []), tf.ensure_shape(good, [])

        def either(one):
            one = tf.data.Dataset.from_tensors(one)
            image = one.map(first).ignore_errors()
            both = image.concatenate(one.map(second)).take(1)
            return both.get_single_element()

        images = tf.data.Dataset.from_tensor_slices(contents).map(
            either, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        batch = images.batch(self._batch_size)
        return batch.get_single_element()
