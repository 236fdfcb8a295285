"""Images in record files, which may be larger than the memory."""

import functools
import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from minc_tf.data.encoded import EncodedSource, check_images
from minc_tf.data.graph_reader import GraphReader
from minc_tf.data.labels import as_labels
from minc_tf.data.limits import MAX_PIXELS
from minc_tf.data.readers import TFRecordReader

# Records a call into Python: enough to hide its cost, few enough to hold.
_CHUNK = 64


class RecordSource(EncodedSource):
    """Images read from record files at each access, then decoded.

    The records are serialized `tf.train.Example`s. Image `i` is always
    record `rows[i]`.

    Args:
        reader: object with `__len__` and `read(indices) -> list[bytes]`, as
            `minc_tf.data.readers.TFRecordReader`.
        image_shape: tuple `(H, W, 3)`; what has another size is resized and
            centre-cropped to it. `(None, None, 3)` leaves every image its
            size.
        image_key: str, the feature with the encoded image.
        label_key: str, the feature with the int64 label, or `None` for
            unlabelled images. Records without it have label -1.
        class_names: sequence of str, needed with `label_key`.
        rows: int array `(N,)`, or `None` for every record in order.
        labels: int array `(N,)`, or `None`: then `labels` reads those of all
            records when it is first asked for. `batches` does not need it.
        name: str, for messages and summaries.
        split: str, for messages and summaries.
        skipped: names of unreadable images that were left out.
        on_bad: what to do about an image that does not decode, as in
            `EncodedSource`. A damaged record is always an error.
        max_pixels: int, the most pixels of an image, as in `EncodedSource`.

    Example:
    ```python
    from minc_tf.data.readers import Shard, TFRecordReader

    reader = TFRecordReader([Shard("train.tfrecord")])
    source = minc_tf.data.RecordSource(
        reader, (64, 64, 3), label_key="label", class_names=["cat", "dog"]
    )
    ```
    """

    def __init__(
        self,
        reader,
        image_shape: tuple[int | None, int | None, int],
        *,
        image_key: str = "image",
        label_key: str | None = None,
        class_names: Sequence[str] | None = None,
        rows: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        name: str = "records",
        split: str = "train",
        skipped: Sequence[str] = (),
        on_bad: str | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        rows = np.arange(len(reader)) if rows is None else rows
        self._rows = np.asarray(rows, np.int64)
        super().__init__(
            self._rows,
            labels,
            image_shape,
            files=False,
            name=name,
            split=split,
            class_names=class_names and tuple(class_names),
            skipped=skipped,
            on_bad=on_bad,
            max_pixels=max_pixels,
        )
        self._reader = reader
        self._image_key, self._label_key = image_key, label_key
        if labels is None and label_key is not None:
            # The base class's are made up; the property below reads them.
            del self.labels
            self._labels = None

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """int64 array `(N,)`, read from all records when first asked for."""
        labels = read_labels(self._reader, self._label_key, self._rows)
        return as_labels(labels, len(self._rows), self.class_names)

    def stream(self, indices_dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Look up a stream of indices, in its order, one at a time.

        Args:
            indices_dataset: `tf.data.Dataset` of scalar int64 indices.

        Returns:
            A `tf.data.Dataset` of dicts as `at` returns. Where an image
            cannot be read it does as `on_bad` says.
        """
        parallel = {
            "num_parallel_calls": tf.data.AUTOTUNE,
            "deterministic": True,
        }
        read = indices_dataset.batch(_CHUNK).map(self._read, **parallel)
        decode = self._decode if self.on_bad is None else self._decode_or
        return read.unbatch().map(decode, **parallel)

    def portable(self) -> "RecordSource":
        """Return the same images for pipelines that other machines run.

        Paths are absolute. What cannot be read is TensorFlow's own error.

        Raises:
            ValueError: If that cannot be; see `ImageSource`.
        """
        if not isinstance(self._reader, TFRecordReader):
            raise ValueError(
                f"{self.name}/{self.split} must be in TFRecord files to be "
                f"read by a service; {type(self._reader).__name__} is Python "
                "code, which is not sent there; prepare it as tfrecord"
            )
        source = super().portable()
        source._reader = GraphReader(self._reader)
        return source

    def _sent_bytes(self):
        return 0

    def _read(self, indices):
        """Encoded images, labels and indices of a vector of indices."""
        keys = [self._image_key]
        if self._labels is None:
            keys.append(self._label_key)
        rows = tf.gather(self._items, indices)
        image, *label = parse(read_records(self._reader, rows), *keys)
        label = label[0] if label else tf.gather(self._labels, indices)
        return {"image": image, "label": label, "index": indices}

    def _decode(self, example):
        return {**example, "image": self._decoded(example["image"])}

    def _decode_or(self, example):
        """Decode, or do as `on_bad` says; as in the base class's stream."""
        one = tf.data.Dataset.from_tensors(example)
        instead = one.map(lambda example: self._instead_of(example["index"]))
        either = one.map(self._decode).ignore_errors().concatenate(instead)
        return either.take(1).get_single_element()

    def _image_at(self, index):
        contents = self._read(index[tf.newaxis])["image"][0]
        if tf.executing_eagerly():
            contents = contents.numpy()
        return self._decoded(contents)

    def _example(self, image, index):
        if self._labels is not None:
            return super()._example(image, index)
        label = self._read(index[tf.newaxis])["label"][0]
        return {"image": image, "label": label, "index": index}

    def _replace_rows(self, rows):
        return RecordSource(
            self._reader,
            self.image_shape,
            image_key=self._image_key,
            label_key=self._label_key,
            class_names=self.class_names,
            rows=self._rows[rows],
            # Known ones are passed on, no others are read for it.
            labels=self.labels[rows] if "labels" in vars(self) else None,
            name=self.name,
            split=self.split,
            skipped=self.skipped,
            on_bad=self.on_bad,
            max_pixels=self.max_pixels,
        )


def read_records(reader, rows: tf.Tensor) -> tf.Tensor:
    """Read records inside a graph.

    Args:
        reader: object with `read(indices) -> list[bytes]`, or `GraphReader`.
        rows: int64 tensor `(b,)`.

    Returns:
        string tensor `(b,)`.
    """
    if isinstance(reader, GraphReader):
        return reader.read(rows)

    def read(rows):
        return np.array(reader.read(rows), dtype=object)

    if tf.executing_eagerly():
        return tf.constant(read(rows.numpy()), tf.string)

    records = tf.numpy_function(read, [rows], tf.string, stateful=False)
    return tf.ensure_shape(records, rows.shape)


def parse(
    records: tf.Tensor, image_key: str | None, label_key: str | None = None
) -> list[tf.Tensor]:
    """Take images, labels or both out of serialized examples.

    Args:
        records: string tensor `(b,)`.
        image_key: str or `None`.
        label_key: str or `None`.

    Returns:
        A list of the encoded images, string `(b,)`, and the labels, int64
        `(b,)`, -1 where an example has none; without those not asked for.
    """
    features = {}
    if image_key is not None:
        features[image_key] = tf.io.FixedLenFeature([], tf.string)
    if label_key is not None:
        features[label_key] = tf.io.FixedLenFeature([], tf.int64, -1)
    parsed = tf.io.parse_example(records, features)
    return [parsed[key] for key in features]


def read_labels(reader, label_key: str, rows: np.ndarray) -> np.ndarray:
    """Read the labels of many records.

    Args:
        reader: object with `read(indices) -> list[bytes]`.
        label_key: str, an int64 feature.
        rows: int array `(N,)`.

    Returns:
        int64 array `(N,)`, -1 where a record has none.
    """
    if isinstance(reader, TFRecordReader):
        return reader.read_int64(label_key, rows)
    batches = _in_order(
        rows, lambda rows: parse(read_records(reader, rows), None, label_key)[0]
    )
    return np.concatenate(list(batches))


def read_images(reader, image_key: str, rows: np.ndarray):
    """Yield the encoded images of many records, one after another.

    Args:
        reader: object with `read(indices) -> list[bytes]`.
        image_key: str, a bytes feature.
        rows: int array `(N,)`.
    """
    batches = _in_order(
        rows, lambda rows: parse(read_records(reader, rows), image_key)[0]
    )
    return itertools.chain.from_iterable(batches)


def _in_order(rows, function):
    dataset = tf.data.Dataset.from_tensor_slices(np.asarray(rows, np.int64))
    dataset = dataset.batch(_CHUNK).map(
        function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    try:
        yield from dataset.as_numpy_iterator()
    except tf.errors.InvalidArgumentError as error:
        # The reader's own error, in which TensorFlow tells of where it was.
        _, found, line = error.message.partition("ValueError: ")
        if not found:
            raise
        raise ValueError(line.partition("\n")[0]) from error


def make_source(
    reader,
    *,
    image_key: str,
    label_key: str | None,
    class_names: Sequence[str] | None,
    rows: np.ndarray,
    size: tuple[int, int] | None,
    known_size: tuple[int | None, int | None] | None,
    skip_bad: bool,
    max_bytes: int,
    name: str,
    split: str,
    max_pixels: int = MAX_PIXELS,
) -> EncodedSource:
    """Keep images of record files in memory if they are small, else on disk.

    Args:
        reader: a reader of `minc_tf.data.readers`.
        image_key: str, the feature with the encoded image.
        label_key: str, the feature with the label, or `None`.
        class_names: sequence of str, or `None` for their numbers.
        rows: int array `(N,)`, the records to use.
        size: tuple `(H, W)` to resize to, or `None`.
        known_size: tuple `(H, W)` of the images, with `None` for what
            varies, or `None` if they may be anything.
        skip_bad: bool, whether unreadable images are left out: of those in
            memory before the source is made, else when they are met.
        max_bytes: int, the largest total size to keep in memory.
        name: str, for messages and summaries.
        split: str, for messages and summaries.
        max_pixels: int, the most pixels of an image.

    Returns:
        An `EncodedSource` or a `RecordSource`.

    Raises:
        ValueError: If an image in memory is unreadable, a record is damaged,
            or the labels are out of range.
    """
    known = known_size or (None, None)
    small = reader.bytes_per_record * len(rows) <= max_bytes
    unchecked = skip_bad or known_size is None or (None in known and not size)
    skipped = []
    if small:
        images = list(read_images(reader, image_key, rows))
    if small:
        names = np.array([f"{split}#{row}" for row in rows])
        sizes, good = check_images(
            images,
            names,
            files=False,
            skip_bad=skip_bad,
            where=f"data set {name} {split}",
            decode=unchecked,
            max_pixels=max_pixels,
        )
        images = list(itertools.compress(images, good))
        skipped = names[~good].tolist()
        rows, sizes = rows[good], sizes[good]
        if unchecked and np.all(sizes == sizes[0]):
            known = tuple(sizes[0])
    size = size or known
    shape = (None, None, 3) if None in size else (*size, 3)
    labels = None
    if label_key is not None and (small or class_names is None):
        labels = read_labels(reader, label_key, rows)
        # The door of all sources, which does not know of records left out.
        checked = as_labels(
            labels, len(rows), class_names, num_images=len(reader)
        )
        if class_names is None:
            class_names = [str(i) for i in range(checked.max(initial=-1) + 1)]
    if label_key is not None and _all_unknown(reader, label_key, rows, labels):
        label_key = class_names = labels = None
    on_bad = "skip" if skip_bad else "raise"
    description = {
        "labels": labels,
        "image_shape": shape,
        "name": name,
        "split": split,
        "class_names": class_names,
        "skipped": skipped,
        "max_pixels": max_pixels,
    }
    on_disk = RecordSource(
        reader,
        image_key=image_key,
        label_key=label_key,
        rows=rows,
        on_bad=on_bad if unchecked and not small else None,
        **description,
    )
    if not small:
        return on_disk
    if not isinstance(reader, TFRecordReader):
        on_disk = None
    return EncodedSource(images, files=False, on_disk=on_disk, **description)


def _all_unknown(reader, label_key, rows, labels):
    """Tell whether every label is -1; few are read if the first say no."""
    if labels is None:
        some = rows[:: max(1, len(rows) // _CHUNK)]
        if np.any(read_labels(reader, label_key, some) >= 0):
            return False
        labels = read_labels(reader, label_key, rows)
    return not np.any(labels >= 0)
