"""The images of a run on JAX: arrays in memory, in an order of their own."""

import itertools
from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from minc_tf.data.npz import Arrays, read_npz
from minc_tf.training.source_checks import check_batch_size, check_view_size


def load_splits(config: ConfigDict) -> tuple:
    """Loads the images that a run trains on and is monitored with.

    Args:
        config: the run's settings, with an `.npz` file as data.

    Returns:
        (train, reference, test): three `Arrays`: training images, the same
        (or those of `data.labelled_split`), and test images, both in the size
        of the views. `test` is None where `data.test_split` is.

    Raises:
        ValueError: if they do not fit the settings.
        FileNotFoundError: if there is no such file.
    """
    section = config.data
    train = reference = _load(config, section.split)
    check_batch_size(config, train)
    if section.labelled_split not in (None, section.split):
        reference = _load(config, section.labelled_split)
    check_view_size(config, reference)
    if not section.test_split:
        return train, reference, None
    test = _load(config, section.test_split)
    check_view_size(config, test)
    return train, reference, test


def stream(
    images: np.ndarray, batch_size: int, seed: int, first_step: int = 0
) -> Iterator[np.ndarray]:
    """An endless stream of batches, a pure function of seed and step.

    Each epoch has an order of its own and leaves out the images that do not
    fill a batch.

    Args:
        images: array (N, H, W, C).
        batch_size: int, at most N.
        seed: int, of the orders.
        first_step: int, the batches to leave out.

    Returns:
        Iterator over arrays (batch_size, H, W, C).
    """
    steps = len(images) // batch_size
    first_epoch, first = divmod(first_step, steps)
    for epoch in itertools.count(first_epoch):
        order = np.random.default_rng((seed, epoch)).permutation(len(images))
        for step in range(first, steps):
            rows = order[step * batch_size : (step + 1) * batch_size]
            yield images.take(rows, axis=0)
        first = 0


def _load(config, split) -> Arrays:
    section = config.data
    arrays = read_npz(section.data_dir, split, image_size=section.image_size)
    count = section.num_examples if split == section.split else None
    if count is not None and count < len(arrays):
        arrays = arrays.subset(count, config.seed)
    return arrays
