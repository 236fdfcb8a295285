"""Per-image random numbers: known answers, uniformity, independence."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from minc_tf.augment import random


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((2**32 - 1,) * 2, (2**32 - 1,) * 2, (0x1CB996FC, 0xBB002BE7)),
        (
            (0x243F6A88, 0x85A308D3),
            (0x13198A2E, 0x03707344),
            (0xC4923A9C, 0x483DF7A0),
        ),
    ],
)
def test_threefry_known_answers_of_random123(counter, key, answer):
    def words(pair):
        return tuple(tf.constant([w], tf.uint32) for w in pair)

    result = random.threefry_2x32(words(key), words(counter))
    assert tuple(int(r[0]) for r in result) == answer


def seeds(count, first=0):
    index = np.arange(first, first + count)
    return tf.constant(np.stack([np.full_like(index, 42), index], 1), tf.int64)


def test_consecutive_seeds_give_uniform_numbers():
    numbers = random.uniform(seeds(20_000), 3).numpy()
    assert numbers.dtype == np.float32
    assert numbers.min() >= 0 and numbers.max() < 1
    for column in numbers.T:
        assert scipy.stats.kstest(column, "uniform").pvalue > 1e-3


def test_columns_salts_seeds_and_neighbours_are_uncorrelated():
    first = random.uniform(seeds(20_000), 4, salt=0).numpy()
    other_salt = random.uniform(seeds(20_000), 4, salt=1).numpy()
    swapped = random.uniform(seeds(20_000)[:, ::-1], 4, salt=0).numpy()
    columns = np.concatenate([first, other_salt, swapped], axis=1)[1:]
    columns = np.concatenate([columns, first[:-1]], axis=1)
    correlation = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    # 5 standard deviations of a correlation of independent numbers.
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


def test_every_word_of_the_seed_counts():
    pairs = [(0, 0), (1, 0), (0, 1), (2**32, 0), (0, 2**32), (-1, 0)]
    numbers = random.uniform(tf.constant(pairs, tf.int64), 1).numpy()
    assert len(np.unique(numbers)) == len(pairs)


def test_draw_ignores_batch_count_and_compilation():
    whole = random.uniform(seeds(64), 8, salt=3).numpy()
    np.testing.assert_array_equal(
        random.uniform(seeds(5, first=20), 8, salt=3), whole[20:25]
    )
    np.testing.assert_array_equal(
        random.uniform(seeds(64), 3, salt=3), whole[:, :3]
    )
    compiled = tf.function(random.uniform, jit_compile=True)
    np.testing.assert_array_equal(compiled(seeds(64), 8, salt=3), whole)
