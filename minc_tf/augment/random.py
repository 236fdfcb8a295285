"""Random numbers that depend on an image's own seed and on nothing else.

With stateless random ops the draw of an image depends on its place in the
batch, on the batch size and on XLA. Here each number is a hash of the image's
seed, a salt and an index, made of integer operations only: the same in every
batch, on every device, compiled or not.
"""

import numpy as np
import tensorflow as tf

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def threefry_2x32(key: tuple, counter: tuple) -> tuple:
    """Threefry-2x32 with 20 rounds, of pairs of uint32 tensors that broadcast.

    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section
    4.2; known answers in the authors' Random123 library.
    """
    keys = (key[0], key[1], _xor(_xor(key[0], key[1]), _PARITY))
    x0, x1 = counter[0] + keys[0], counter[1] + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = _xor(_rotate_left(x1, rotation), x0)
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def uniform(seeds: tf.Tensor, count: int, salt: int = 0) -> tf.Tensor:
    """Uniform float32 (B, count) in [0, 1) from int64 pairs of seeds (B, 2).

    Multiples of 2**-24. A larger count extends a smaller one; `salt`, below
    2**32, names an independent stream.
    """
    words = tf.bitcast(tf.cast(seeds, tf.int64), tf.uint32)
    # 128 bits of seed become a 64-bit key, itself a random function of both.
    key = threefry_2x32(
        (words[:, 0, 0, None], words[:, 0, 1, None]),
        (words[:, 1, 0, None], words[:, 1, 1, None]),
    )
    blocks = np.arange((count + 1) // 2, dtype=np.uint32)[None, :]
    streams = np.full_like(blocks, salt)
    pair = threefry_2x32(key, (tf.constant(blocks), tf.constant(streams)))
    bits = tf.reshape(tf.stack(pair, axis=-1), [-1, 2 * blocks.shape[1]])
    bits = tf.bitwise.right_shift(bits[:, :count], np.uint32(8))
    return tf.cast(bits, tf.float32) * np.float32(2.0**-24)


def _rotate_left(x, count: int):
    left = tf.bitwise.left_shift(x, np.uint32(count))
    right = tf.bitwise.right_shift(x, np.uint32(32 - count))
    return tf.bitwise.bitwise_or(left, right)


def _xor(x, y):
    return tf.bitwise.bitwise_xor(x, y)
