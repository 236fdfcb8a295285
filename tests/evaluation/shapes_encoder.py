"""An untrained encoder, exported, and pictures that it tells apart badly."""

import functools
import types

import keras
import tensorflow as tf

from minc_tf.data import ArraySource, load_shapes, select_classes
from minc_tf.export import export_savedmodel

SIZE = (32, 32, 3)


class Ordering:
    """Stands in for MINC: an embedding in order."""

    triangular = True
    second_moment = tf.linalg.diag([1.0, 0.5, 0.2]).numpy()

    def rotation(self):
        """Not to be asked for."""
        raise AssertionError


def make_encoder():
    """Convolutions with random weights: images -> 12 features."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input(SIZE),
            keras.layers.Rescaling(1 / 127.5, -1),
            keras.layers.Conv2D(8, 5, strides=3, activation="relu"),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Conv2D(12, 3, strides=2, activation="relu"),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def export_encoder(directory, offset=0.0):
    """Write the encoder; return the path of its version.

    The offset is added to the bias of the first convolution.
    """
    projector = keras.Sequential([keras.Input((12,)), keras.layers.Dense(3)])
    encoder = make_encoder()
    bias = encoder.layers[1].bias
    bias.assign(bias + offset)
    model = types.SimpleNamespace(
        encoder=encoder, projector=projector, objective=Ordering()
    )
    return export_savedmodel(model, directory)


@functools.cache
def pictures(split, count, classes):
    """Pictures of the `shapes` set of some classes, about `count`."""
    number = count * 10 // len(classes)
    return select_classes(load_shapes(split, num_examples=number), classes)


class Logged(ArraySource):
    """Writes (its name, the index) into a log for every image it reads."""

    def __init__(self, source, log):
        """Take the images and labels of a source."""
        super().__init__(
            source.images, source.labels, class_names=source.class_names
        )
        self.split = source.split
        self.log = log

    def batches(self, indices_dataset, batch_size, drop_remainder=False):
        """Batches of the source, whose indices are logged."""

        def write(index):
            self.log.append((self.split, int(index)))
            return index

        def logged(index):
            found = tf.numpy_function(write, [index], tf.int64)
            return tf.ensure_shape(found, ())

        return super().batches(
            indices_dataset.map(logged), batch_size, drop_remainder
        )
