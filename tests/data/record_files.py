"""Record files of small images, for the tests of readers and sources."""

import io

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from array_record.python import array_record_module

from minc_tf.data.records.readers import ArrayRecordReader, TFRecordReader

RNG = np.random.default_rng(3)
N = 150
IMAGES = RNG.integers(0, 256, (N, 6, 8, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 4, N)


def png(image):
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def example(**features):
    example = tf.train.Example()
    for key, value in features.items():
        feature = example.features.feature[key.replace("__", "/")]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, float):
            feature.float_list.value.append(value)
        else:
            feature.int64_list.value.append(int(value))
    return example.SerializeToString(deterministic=True)


RECORDS = [
    example(image=png(image), label=label, id=i)
    for i, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True))
]


def write_tfrecord(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def write_arrayrecord(path, records):
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


WRITERS = {"tfrecord": write_tfrecord, "arrayrecord": write_arrayrecord}
SUFFIXES = {"tfrecord": "tfrecord", "arrayrecord": "array_record"}
READERS = {"tfrecord": TFRecordReader, "arrayrecord": ArrayRecordReader}
FORMATS = pytest.mark.parametrize("kind", list(WRITERS))


def write_shards(folder, kind, records, split="train", shards=3):
    """Write shards of different lengths, the second one empty."""
    ends = [0, len(records) // 4, len(records) // 4, len(records)]
    paths = []
    for i in range(shards):
        name = f"set-{split}.{SUFFIXES[kind]}-{i:05d}-of-{shards:05d}"
        WRITERS[kind](folder / name, records[ends[i] : ends[i + 1]])
        paths.append(str(folder / name))
    return paths
