"""What feeds a run on JAX: images in memory, views made on the device."""

import itertools
from collections.abc import Iterator

import jax
import numpy as np
from ml_collections import ConfigDict

from minc_tf import augment
from minc_tf.data.npz import read_npz
from minc_tf.models.backend import to_devices
from minc_tf.training.from_settings import view_configs
from minc_tf.training.source_checks import check_batch_size, check_view_size


class ArrayImages:
    """The images of a run in memory (`minc_tf.data.npz.Arrays`).

    `reference` is `train` or `data.labelled_split`; `test` may be None.
    """

    def __init__(self, config: ConfigDict, devices):
        self.config = config
        self.train, self.reference, self.test = load_splits(config)

    def check(self) -> None:
        """Nothing more than was checked as they were loaded."""

    def batches(self, first_step: int) -> Iterator[np.ndarray]:
        """The endless batches of the run, for its devices."""
        config = self.config
        return stream(
            self.train.images, config.batch_size, config.seed, first_step
        )

    def examples(self, source) -> list[dict]:
        """All images and labels of a source, as `extract` takes them."""
        labels = source.labels
        if labels is None:
            labels = np.full(len(source), -1)
        return [{"image": source.images, "label": labels}]

    def view_pairs(self, source, batch_size: int, count: int):
        """So many batches of views of a source, the same at each pass."""
        return _ViewPairs(self.config, source.images, batch_size, count)

    def draw_views(self, count: int) -> tuple:
        """Draw the views of the first images twice: (images, first, later)."""
        images = self.train.images[:count]
        draw, states = _view_maker(self.config, self.config.seed)
        first, states = draw(states, images)
        later, _ = draw(states, images)
        return images, *jax.tree.map(np.asarray, (first, later))


class _ViewPairs:
    def __init__(self, config, images, batch_size, count):
        self._draw, self._states = _view_maker(config, config.seed + 1)
        self._batches = images, batch_size, config.seed + 1
        self._count = count

    def __len__(self):
        return self._count

    def __iter__(self):
        states = self._states
        batches = itertools.islice(stream(*self._batches), self._count)
        for batch in map(to_devices, batches):
            views, states = self._draw(states, batch)
            yield views


def _view_maker(config, seed):
    """A compiled function that draws views, and its first states."""
    configs, size = view_configs(config)
    layer = augment.TwoViews(configs, size, seed=seed)
    layer.build(None)
    draw = jax.jit(
        lambda states, images: layer.stateless_call([], states, images)
    )
    return draw, [variable.value for variable in layer.non_trainable_variables]


def load_splits(config: ConfigDict) -> tuple:
    """Load (train, reference, test) of a run, whose data is an `.npz` file."""
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

    Each epoch leaves out the images that do not fill a batch.
    """
    steps = len(images) // batch_size
    first_epoch, first = divmod(first_step, steps)
    for epoch in itertools.count(first_epoch):
        order = np.random.default_rng((seed, epoch)).permutation(len(images))
        for step in range(first, steps):
            rows = order[step * batch_size : (step + 1) * batch_size]
            yield images.take(rows, axis=0)
        first = 0


def _load(config, split):
    section = config.data
    arrays = read_npz(section.data_dir, split, image_size=section.image_size)
    count = section.num_examples if split == section.split else None
    if count is not None and count < len(arrays):
        arrays = arrays.subset(count, config.seed)
    return arrays
