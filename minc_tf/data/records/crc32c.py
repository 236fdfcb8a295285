"""The checksum of TFRecord files (Castagnoli, masked); NumPy alone.

It is linear: that of two halves is the left one's, shifted by the length of
the right one, plus the right one's. So many words are joined in pairs at a
time. RFC 3720, appendix B.4; the mask is that of TensorFlow's TFRecord.
"""

import functools
from collections.abc import Sequence

import numpy as np

_POLYNOMIAL = 0x82F63B78
_ALL = 0xFFFFFFFF
# Items of so many bytes at a time, which bounds memory.
_GROUP = 2**22


def masked_crc32c(items: Sequence[bytes]) -> np.ndarray:
    """Return the masked checksums of N byte strings, uint32 (N,)."""
    sums = np.zeros(len(items), np.uint32)
    groups = {}
    for place, item in enumerate(items):
        groups.setdefault(_depth(len(item)), []).append(place)
    for depth, places in groups.items():
        step = max(1, _GROUP >> (depth + 2))
        for first in range(0, len(places), step):
            rows = places[first : first + step]
            sums[rows] = _checksums([items[row] for row in rows], depth)
    rotated = (sums >> np.uint32(15)) | (sums << np.uint32(17))
    return rotated + np.uint32(0xA282EAD8)


def _depth(size):
    """The smallest d of which 2^d words hold as many bytes, and one word."""
    return max(0, (-(-size // 4) - 1).bit_length()) if size > 4 else 1


def _checksums(items, depth):
    """Checksums of byte strings that 2^depth words hold."""
    width = 4 << depth
    table = np.zeros((len(items), width), np.uint8)
    starts = np.array([width - len(item) for item in items])
    for row, item in enumerate(items):
        # Zeros in front change nothing, as the sum begins with zero ...
        table[row, width - len(item) :] = np.frombuffer(item, np.uint8)
    for i in range(4):  # ... for which the first word is inverted.
        inside = starts + i < width
        rows = np.flatnonzero(inside)
        table[rows, starts[rows] + i] ^= 0xFF
    words = table.view("<u4").astype(np.uint32)
    for level in range(depth):
        words = _shift(words[:, ::2], level) ^ words[:, 1::2]
    sums = _shift(words[:, 0], 0) ^ np.uint32(_ALL)
    # Of less than a word a part of the inversion is behind the data.
    for row, item in enumerate(items):
        if len(item) < 4:
            sums[row] = _bit_by_bit(item)
    return sums


def _shift(words, level):
    """Shift checksums by 2^level words of zeros."""
    low, high = _tables(level)
    return low[words & np.uint32(0xFFFF)] ^ high[words >> np.uint32(16)]


@functools.cache
def _tables(level):
    """What becomes of the lower and of the upper 16 bits."""
    basis = np.uint32(1) << np.arange(32, dtype=np.uint32)
    if level:
        basis = _shift(_shift(basis, level - 1), level - 1)
    else:
        for _ in range(32):
            odd = np.uint32(_POLYNOMIAL) * (basis & np.uint32(1))
            basis = (basis >> np.uint32(1)) ^ odd
    tables = []
    for half in (basis[:16], basis[16:]):
        table = np.zeros(1, np.uint32)
        for value in half:
            table = np.concatenate([table, table ^ value])
        tables.append(table)
    return tuple(tables)


def _bit_by_bit(data):
    crc = _ALL
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL * (crc & 1))
    return crc ^ _ALL
