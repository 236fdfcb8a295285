"""One integer out of a serialized `tf.train.Example`, without its image.

The encoded image is nearly all of a record. A walk along the fields of the
protocol buffer jumps over it, so that the labels of a large data set take a
small part of its bytes.
"""

import os

_WINDOW = 256
_INT64_LIST = 3


def read_int64(descriptor: int, offset: int, length: int, key: str) -> int:
    """Return the first value of an int64 feature of one record, -1 for none."""
    data, key = _Bytes(descriptor, offset), key.encode()
    try:
        for _, *features in _fields(data, 0, length):
            for _, *entry in _fields(data, *features):
                places = {number: at for number, *at in _fields(data, *entry)}
                if 2 in places and _equal(data, places.get(1), key):
                    return _first_int64(data, *places[2])
    except IndexError as error:
        raise ValueError(
            "records must be serialized tf.train.Example; that at byte "
            f"{offset} is not"
        ) from error
    return -1


class _Bytes:
    """The bytes of a record, read where they are looked at."""

    def __init__(self, descriptor, offset):
        self._descriptor, self._offset = descriptor, offset
        self._start, self._window = 0, b""

    def __getitem__(self, position):
        place = position - self._start
        if not 0 <= place < len(self._window):
            self._start, place = position, 0
            self._window = os.pread(
                self._descriptor, _WINDOW, self._offset + position
            )
        return self._window[place]


def _fields(data, position, end):
    """Yield the number of each field, and where its content begins and ends."""
    while position < end:
        tag, position = _varint(data, position)
        if tag & 7 == 2:
            length, position = _varint(data, position)
        elif tag & 7 == 0:
            length = _varint(data, position)[1] - position
        else:
            raise IndexError(position)
        yield tag >> 3, position, position + length
        position += length
    if position != end:
        raise IndexError(position)


def _varint(data, position):
    """An integer of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7


def _equal(data, place, key):
    if place is None or place[1] - place[0] != len(key):
        return False
    return bytes(data[i] for i in range(*place)) == key


def _first_int64(data, start, end):
    for kind, *values in _fields(data, start, end):
        if kind == _INT64_LIST:
            # Packed or not, the content begins with the first value.
            for _, position, _ in _fields(data, *values):
                value = _varint(data, position)[0]
                return value - (value >> 63 << 64)
    return -1
