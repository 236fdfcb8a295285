"""The images of record files: one more place where images are kept."""

import itertools

import numpy as np
import tensorflow as tf

from minc_tf.data.records.graph_reader import GraphReader
from minc_tf.data.records.readers import TFRecordReader
from minc_tf.data.source import to_host

# Records a call into Python: enough to hide its cost, few enough to hold.
CHUNK = 64


class RecordStore:
    """Images in record files, of serialized `tf.train.Example`s.

    It answers as the stores of `minc_tf.data.stores` do. Image `i` is record
    `rows[i]` of the reader, which has `__len__` and `read(indices)` of bytes.
    """

    chunk = CHUNK

    def __init__(
        self, reader, rows: np.ndarray, image_key: str, label_key: str | None
    ):
        self._reader, self._rows = reader, np.asarray(rows, np.int64)
        self._image_key, self._label_key = image_key, label_key
        self._host_rows = to_host(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def look_up(self, indices: tf.Tensor) -> tuple:
        """Encoded images and labels (b,) of the indices (b,)."""
        rows = tf.gather(self._host_rows, indices)
        records = read_records(self._reader, rows)
        image, *label = parse(records, self._image_key, self._label_key)
        return image, (label[0] if label else None)

    def open(self, item: tf.Tensor) -> bytes | tf.Tensor:
        """An encoded image: bytes, or a tensor inside a graph."""
        return item.numpy() if tf.executing_eagerly() else item

    def name(self, index: int) -> int:
        """The number of an image."""
        return int(index)

    def take(self, rows: np.ndarray) -> "RecordStore":
        """A store of some of the images, in the order of the rows."""
        rows = self._rows[rows]
        return RecordStore(self._reader, rows, self._image_key, self._label_key)

    def portable(self, where: str) -> "RecordStore":
        """The same without Python code; a ValueError where it needs some."""
        if not isinstance(self._reader, TFRecordReader):
            raise ValueError(
                f"{where} must be in TFRecord files to be read by a service; "
                f"{type(self._reader).__name__} is Python code, which is not "
                "sent there; prepare it as tfrecord"
            )
        reader = GraphReader(self._reader)
        return RecordStore(reader, self._rows, self._image_key, self._label_key)

    def sent_bytes(self) -> int:
        """None: a graph holds the places of the records."""
        return 0

    def labels(self) -> np.ndarray:
        """The labels (N,) of all images, read from their records."""
        return read_labels(self._reader, self._label_key, self._rows)


def read_records(reader, rows: tf.Tensor) -> tf.Tensor:
    """Read the records (b,) of the numbers (b,), inside a graph or outside."""
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
    """Take images, labels or both out of serialized examples, all (b,).

    Labels are -1 where an example has none; what is not asked for is not there.
    """
    features = {}
    if image_key is not None:
        features[image_key] = tf.io.FixedLenFeature([], tf.string)
    if label_key is not None:
        features[label_key] = tf.io.FixedLenFeature([], tf.int64, -1)
    parsed = tf.io.parse_example(records, features)
    return [parsed[key] for key in features]


def read_labels(reader, label_key: str, rows: np.ndarray) -> np.ndarray:
    """Read the labels of many records, int64 (N,), -1 where one has none."""
    if isinstance(reader, TFRecordReader):
        return reader.read_int64(label_key, rows)
    batches = _in_order(
        rows, lambda rows: parse(read_records(reader, rows), None, label_key)[0]
    )
    return np.concatenate(list(batches))


def read_images(reader, image_key: str, rows: np.ndarray):
    """Yield the encoded images of many records, one after another."""
    batches = _in_order(
        rows, lambda rows: parse(read_records(reader, rows), image_key)[0]
    )
    return itertools.chain.from_iterable(batches)


def _in_order(rows, function):
    dataset = tf.data.Dataset.from_tensor_slices(np.asarray(rows, np.int64))
    dataset = dataset.batch(CHUNK).map(
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
