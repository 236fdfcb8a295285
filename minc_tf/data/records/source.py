"""Images in record files, which may be larger than the memory."""

import itertools
from collections.abc import Sequence

import numpy as np

from minc_tf.data.encoded import EncodedSource, check_images
from minc_tf.data.labels import as_labels
from minc_tf.data.limits import MAX_PIXELS
from minc_tf.data.records.readers import ArrayRecordReader, TFRecordReader
from minc_tf.data.records.store import (
    CHUNK,
    RecordStore,
    read_images,
    read_labels,
)
from minc_tf.data.source import UNREAD
from minc_tf.data.stored import StoredSource


class RecordSource(StoredSource):
    """Images read from record files at each access, then decoded.

    The records are serialized `tf.train.Example`s. Image `i` is always
    record `rows[i]`.

    Args:
        reader: object with `__len__` and `read(indices) -> list[bytes]`, as
            `minc_tf.data.records.readers.TFRecordReader`.
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
    from minc_tf.data.records.readers import Shard, TFRecordReader

    reader = TFRecordReader([Shard("train.tfrecord")])
    source = minc_tf.data.RecordSource(
        reader, (64, 64, 3), label_key="label", class_names=["cat", "dog"]
    )
    ```
    """

    def __init__(
        self,
        reader: TFRecordReader | ArrayRecordReader,
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
    ) -> None:
        rows = np.arange(len(reader)) if rows is None else rows
        if labels is None and label_key is not None:
            labels = UNREAD
        super().__init__(
            RecordStore(reader, rows, image_key, label_key),
            labels,
            image_shape,
            on_bad=on_bad,
            max_pixels=max_pixels,
            name=name,
            split=split,
            class_names=class_names,
            skipped=skipped,
        )


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
) -> EncodedSource | RecordSource:
    """Keep images of record files in memory if they are small, else on disk.

    `rows` are the records to use. `known_size` is the images' (H, W), `None`
    for what varies, or for both. Unreadable images in memory are left out
    before the source is made, others when they are met.
    """
    known = known_size or (None, None)
    small = reader.bytes_per_record * len(rows) <= max_bytes
    unchecked = skip_bad or known_size is None or (None in known and not size)
    skipped = []
    if small:
        images = list(read_images(reader, image_key, rows))
    if small:
        sizes, good = check_images(
            images,
            [f"{split}#{row}" for row in rows],
            files=False,
            skip_bad=skip_bad,
            where=f"data set {name} {split}",
            decode=unchecked,
            max_pixels=max_pixels,
        )
        images = list(itertools.compress(images, good))
        skipped = rows[~good].tolist()
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
        some = rows[:: max(1, len(rows) // CHUNK)]
        if np.any(read_labels(reader, label_key, some) >= 0):
            return False
        labels = read_labels(reader, label_key, rows)
    return not np.any(labels >= 0)
