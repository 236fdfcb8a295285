"""What makes parts: one process, which loads the SavedModel once."""

import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from minc_tf.evaluation.embedding.collection import images_of
from minc_tf.evaluation.embedding.images_to_table import image_size
from minc_tf.evaluation.embedding.part_encoder import (
    Contents,
    Numbers,
    PartEncoder,
)
from minc_tf.evaluation.embedding.parts_folder import PartsFolder
from minc_tf.export import SavedEncoder, load_savedmodel


class Job(NamedTuple):
    """What workers need beside the images; `data` is what loads a data set."""

    savedmodel: str | SavedEncoder
    output: str
    batch_size: int
    max_pixels: int
    data: dict | None
    folder: PartsFolder


class PartWorker:
    """Embeds parts of a collection, and writes them.

    `threads` is the process's number, set before TensorFlow is first used.
    """

    def __init__(self, job: Job, threads: int | None = None):
        if threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        self._folder = job.folder
        encoder = load_savedmodel(job.savedmodel)
        images = Contents(job.max_pixels)
        if job.data is not None:
            images = Numbers(images_of(job.data))
        self._encode = PartEncoder(
            encoder.encoder_function(job.output, as_served=True),
            images,
            image_size(encoder, job.output),
            job.batch_size,
        )

    def __call__(self, part: str, images) -> tuple[int, int]:
        """Make a part of some images; return how many are good, and bad."""
        found = list(self._encode(images.read()))
        vectors, labels, faults = zip(*found, strict=True)
        return self._folder.write(
            part,
            images.names,
            np.concatenate(labels),
            np.concatenate(vectors),
            list(itertools.chain.from_iterable(faults)),
        )
