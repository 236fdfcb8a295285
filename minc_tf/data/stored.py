"""Images that stay encoded until they are used, wherever they are kept."""

import numpy as np
import tensorflow as tf

from minc_tf._checks import check_choice
from minc_tf.data.decoding import decode_image, graph_decode_image
from minc_tf.data.files import BadImageError
from minc_tf.data.formats import DECODE_ERRORS, first_line
from minc_tf.data.limits import check_max_pixels
from minc_tf.data.resize import resize_and_crop
from minc_tf.data.source import ImageSource
from minc_tf.data.stores import FileStore

_PARALLEL = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}


class StoredSource(ImageSource):
    """The images of a store (`minc_tf.data.stores`), decoded at each access.

    The base class of `EncodedSource` and `RecordSource`, which describe the
    arguments. The labels may be `UNREAD`, for those of the store.
    """

    def __init__(
        self,
        store,
        labels: np.ndarray | None,
        image_shape: tuple[int | None, int | None, int],
        *,
        on_bad: str | None,
        max_pixels: int,
        **description,
    ):
        check_choice("on_bad", on_bad, (None, "raise", "skip"))
        check_max_pixels("max_pixels", max_pixels)
        super().__init__(
            labels, image_shape, num_examples=len(store), **description
        )
        self.on_bad = on_bad
        self.max_pixels = max_pixels
        self._store = store
        self._portable = False

    @property
    def files(self) -> bool:
        """Whether the images are in a file each."""
        return isinstance(self._store, FileStore)

    @property
    def paths(self) -> list[str] | None:
        """The files of the images; `None` where they are in no such."""
        return self._store.paths if self.files else None

    def at(self, index: int | tf.Tensor) -> dict[str, tf.Tensor]:
        """Return one example; see `ImageSource`.

        What cannot be read is a ValueError, in a graph TensorFlow's own error.
        """
        try:
            return self._decoded(self._encoded_at(index))
        except BadImageError as error:
            raise BadImageError(self._complaint(index, error)) from error
        except DECODE_ERRORS as error:  # of a record without an image
            reason = first_line(error)
            raise BadImageError(self._complaint(index, reason)) from error

    def stream(self, indices_dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Look up a stream of indices, in its order, one at a time.

        Where an image cannot be read it does as `on_bad` says.
        """
        decode = self._decoded if self.on_bad is None else self._decoded_or
        chunk = self._store.chunk
        if chunk is None:
            return indices_dataset.map(
                lambda index: decode(self._encoded_at(index)), **_PARALLEL
            )
        read = indices_dataset.batch(chunk).map(self._encoded, **_PARALLEL)
        return read.unbatch().map(decode, **_PARALLEL)

    def portable(self) -> ImageSource:
        """Return the same images for other machines; see `ImageSource`.

        Paths are absolute. What cannot be read is TensorFlow's own error.
        """
        if self.on_bad == "skip":
            hint = ", or load with load_folder(check='all')" * self.files
            raise ValueError(
                "skip_bad must be false with a service for "
                f"{self.name}/{self.split}, whose images were not all decoded "
                f"when it was loaded; repair or remove bad images{hint}"
            )
        source = super().portable()
        source.on_bad, source._portable = None, True
        source._store = self._store.portable(f"{self.name}/{self.split}")
        return source

    def _sent_bytes(self):
        return self._store.sent_bytes()

    def _read_labels(self):
        return self._store.labels()

    def _keep(self, rows):
        self._store = self._store.take(rows)

    def _encoded(self, indices):
        """Items of the store, labels and indices of a vector of indices."""
        items, labels = self._store.look_up(indices)
        if self._labels is not None:
            labels = tf.gather(self._labels, indices)
        return {"image": items, "label": labels, "index": indices}

    def _encoded_at(self, index):
        index = tf.cast(index, tf.int64)
        found = self._encoded(index[tf.newaxis])
        return {key: value[0] for key, value in found.items()}

    def _decoded(self, example):
        """Decode an image and give it its size, in a graph or outside."""
        contents = self._store.open(example["image"])
        size = None if self.varies else self.image_shape[:2]

        def finish(image):
            return image if size is None else resize_and_crop(image, size)

        if isinstance(contents, bytes):
            image = decode_image(contents, self.max_pixels, finish)
        else:
            image = graph_decode_image(
                contents,
                self.max_pixels,
                size,
                finish,
                portable=self._portable,
            )
        image = tf.ensure_shape(image, self.image_shape)
        return {**example, "image": image}

    def _decoded_or(self, example):
        """Decode, or do as `on_bad` says."""
        # A data set of one element can catch an error inside a graph.
        one = tf.data.Dataset.from_tensors(example)
        instead = one.map(lambda example: self._instead_of(example["index"]))
        either = one.map(self._decoded).ignore_errors().concatenate(instead)
        return either.take(1).get_single_element()

    def _instead_of(self, index):
        """Return what `on_bad` asks for in place of an unreadable image."""
        image, index, complaint = tf.numpy_function(
            self._next_readable,
            [index],
            [tf.uint8, tf.int64, tf.string],
            stateful=False,
        )
        failed = tf.debugging.Assert(complaint == b"", [complaint])
        with tf.control_dependencies([failed]):
            index = tf.ensure_shape(index, [])
            example = self._encoded_at(index)
            image = tf.ensure_shape(image, self.image_shape)
            return {**example, "image": image}

    def _next_readable(self, index):
        """Find an image that decodes, from `index` on: `on_bad` in Python."""
        complaint = ""
        for place in range(index, index + self.num_examples):
            place = np.int64(place % self.num_examples)
            try:
                return self.at(place)["image"].numpy(), place, b""
            except BadImageError as error:
                complaint = complaint or str(error)
            if self.on_bad == "raise":
                break
            name = self._store.name(place)
            if name not in self.left_out:
                self.left_out.append(name)
        return np.zeros((0, 0, 3), np.uint8), index, complaint.encode()

    def _complaint(self, index, error):
        # TensorFlow would put backslashes before quotes.
        return (
            f"{self.name}/{self.split}: unreadable image "
            f"{self._text(self._store.name(index))} ({error}); repair or "
            "remove it, or load with skip_bad=True to leave it out"
        )
