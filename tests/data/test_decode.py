"""Images of every kind, against Pillow."""

import io
import struct

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf

from minc_tf.data.decode import decode_rgb, exif_orientation

Y, X = np.mgrid[:23, :34]
PIXELS = np.stack(
    [128 + 99 * np.sin(X / 4), 255 * Y / 23, 255 * X / 34], -1
).astype(np.uint8)
IMAGE = PIL.Image.fromarray(PIXELS)
#: Levels between TensorFlow's fast DCT and Pillow's accurate one.
_JPEG = 8
_GRAPH = tf.function(decode_rgb, input_signature=[tf.TensorSpec([], tf.string)])


def _bytes(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _pillow(contents):
    return np.asarray(PIL.Image.open(io.BytesIO(contents)).convert("RGB"))


def _assert_decodes(contents, wanted, atol=0):
    """Inside a graph and outside."""
    for decode in (decode_rgb, _GRAPH):
        found = decode(contents).numpy()
        assert found.dtype == np.uint8
        assert found.shape == wanted.shape
        assert np.abs(found.astype(int) - wanted).max() <= atol


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 98}]
)
def test_jpeg(mode, options):
    contents = _bytes(IMAGE.convert(mode), "JPEG", **options)
    _assert_decodes(contents, _pillow(contents), atol=_JPEG)


def test_ycck_jpeg():
    contents = _bytes(IMAGE.convert("CMYK"), "JPEG", quality=95)
    # The last byte of Adobe's segment tells the colour transform.
    place = contents.index(b"Adobe") + 11
    assert contents[place] == 0
    ycck = contents[:place] + b"\2" + contents[place + 1 :]
    assert not np.array_equal(_pillow(ycck), _pillow(contents))
    _assert_decodes(ycck, _pillow(ycck), atol=2 * _JPEG)


def test_jpeg_that_holds_rgb():
    contents = _bytes(IMAGE, "JPEG", keep_rgb=True)
    _assert_decodes(contents, _pillow(contents), atol=_JPEG)


@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_png(mode):
    contents = _bytes(IMAGE.convert(mode), "PNG")
    _assert_decodes(contents, _pillow(contents))


@pytest.mark.parametrize("colours", [2, 4, 16, 256])
def test_palette(colours):
    contents = _bytes(IMAGE.quantize(colours), "PNG")
    _assert_decodes(contents, _pillow(contents))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_png_lies_over_white(mode):
    image = IMAGE.quantize(8) if mode == "P" else IMAGE.convert(mode)
    options = {"transparency": 3} if mode == "P" else {}
    if mode != "P":
        image.putalpha(PIL.Image.fromarray((X * 7).astype(np.uint8)))
    contents = _bytes(image, "PNG", **options)
    top = PIL.Image.open(io.BytesIO(contents)).convert("RGBA")
    page = PIL.Image.new("RGBA", top.size, "white")
    wanted = np.asarray(PIL.Image.alpha_composite(page, top).convert("RGB"))
    assert not np.array_equal(wanted, _pillow(contents))
    _assert_decodes(contents, wanted, atol=_JPEG)


def test_transparency_is_rounded_to_the_nearest_level():
    """All colours at many opacities, against fractions in float64."""
    alpha, colour = np.meshgrid(np.arange(0, 256, 5), np.arange(256))
    image = np.stack([colour, colour, colour, alpha], -1).astype(np.uint8)
    contents = _bytes(PIL.Image.fromarray(image), "PNG")
    wanted = np.rint((colour * alpha + 255.0 * (255 - alpha)) / 255.0)
    _assert_decodes(contents, np.repeat(wanted[..., None], 3, axis=-1))


def test_sixteen_bits():
    deep = np.linspace(0, 65535, 23 * 34).reshape(23, 34).astype(np.uint16)
    contents = _bytes(PIL.Image.fromarray(deep), "PNG")
    with PIL.Image.open(io.BytesIO(contents)) as image:
        assert image.mode == "I;16"
        wanted = np.repeat(np.asarray(image)[..., None] / 257, 3, axis=-1)
    _assert_decodes(contents, wanted, atol=_JPEG)


@pytest.mark.parametrize("size", [(1, 1), (10_000, 1), (1, 10_000)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_extreme_sizes(size, kind):
    contents = _bytes(IMAGE.resize(size), kind)
    _assert_decodes(contents, _pillow(contents), atol=_JPEG)


def _exif(value, endian="<"):
    exif = PIL.Image.Exif()
    exif.endian = endian
    exif[0x010F] = "maker"
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation(value, endian):
    contents = _bytes(IMAGE, "JPEG", exif=_exif(value, endian))
    assert (b"Exif\0\0II" in contents) == (endian == "<")
    assert exif_orientation(contents) == value
    with PIL.Image.open(io.BytesIO(contents)) as image:
        wanted = np.asarray(PIL.ImageOps.exif_transpose(image))
    assert (wanted.shape[0] == 34) == (value >= 5)
    _assert_decodes(contents, wanted, atol=_JPEG)


def _without_jfif(contents):
    assert contents[2:4] == b"\xff\xe0"
    return contents[:2] + contents[20:]


def _after_another_segment(contents):
    other = b"\xff\xe1\x00\x20http://ns.adobe.com/".ljust(34, b"\0")
    return contents[:20] + other + contents[20:]


@pytest.mark.parametrize("change", [_without_jfif, _after_another_segment])
def test_exif_wherever_it_stands(change):
    contents = change(_bytes(IMAGE, "JPEG", exif=_exif(6)))
    assert exif_orientation(contents) == 6
    wanted = np.rot90(_pillow(contents), 3)
    _assert_decodes(contents, wanted, atol=_JPEG)


def test_exif_of_a_grey_jpeg():
    contents = _bytes(IMAGE.convert("L"), "JPEG", exif=_exif(3))
    _assert_decodes(contents, _pillow(contents)[::-1, ::-1], atol=_JPEG)


def test_long_orientation():
    """Some writers give a LONG where the standard has a SHORT."""
    for order, mark in (("<", b"II"), (">", b"MM")):
        tiff = mark + struct.pack(order + "HIH", 42, 8, 1)
        tiff += struct.pack(order + "HHII", 0x0112, 4, 1, 8)
        head = b"\xff\xd8\xff\xe1\x00\x40Exif\0\0" + tiff
        assert exif_orientation(head) == 8


def test_damaged_exif_is_ignored():
    contents = _bytes(IMAGE, "JPEG", exif=_exif(6))
    tiff = contents.index(b"Exif\0\0") + 6
    wanted = _pillow(_bytes(IMAGE, "JPEG"))
    for place, value in ((4, 0xFFFFFF00), (8, 0), (30, 0x99999999)):
        damaged = bytearray(contents)
        struct.pack_into("<I", damaged, tiff + place, value)
        assert exif_orientation(bytes(damaged)) == 1
        _assert_decodes(bytes(damaged), wanted, atol=_JPEG)
    for end in range(2, tiff + 40):
        assert exif_orientation(contents[:end]) in (1, 6)


def _reference_orientation(head):
    """The parser in plain Python, where what is damaged is an exception."""
    at = 2
    try:
        while head[at] == 0xFF and head[at + 1] >> 4 == 0xE:
            if head[at + 4 : at + 10] == b"Exif\0\0":
                return _reference_of_tiff(head[at + 10 :])
            at += 2 + struct.unpack_from(">H", head, at + 2)[0]
    except (IndexError, struct.error):
        pass
    return 1


def _reference_of_tiff(tiff):
    order = "<" if tiff[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, entry)
        if tag == 0x0112:
            code = order + ("I" if kind == 4 else "H")
            (value,) = struct.unpack_from(code, tiff, entry + 8)
            return value if 1 <= value <= 8 else 1
    return 1


def _segments(rng):
    """Segments before the one with Exif data, few with a wrong length."""
    return b"".join(
        b"\xff\xe1"
        + struct.pack(">H", length + rng.choice([2] * 8 + [1, 900]))
        + bytes(length)
        for length in rng.integers(0, 40, rng.integers(0, 4))
    )


def _exif_segment(rng):
    """Entries of any kind, and a count that may be wrong."""
    order, mark = [("<", b"II"), (">", b"MM")][rng.integers(2)]
    count = int(rng.integers(0, 7))
    told = int(rng.choice([count] * 4 + [count + 1, 65535, 0]))
    entries = b"".join(
        struct.pack(
            order + "HHIHH",
            rng.choice([0x010F, 0x0112]),
            rng.choice([1, 3, 4]),
            1,
            *rng.choice([0, 3, 6, 8], 2),
        )
        for _ in range(count)
    )
    start = int(rng.choice([8] * 8 + [9, 0, 2**31]))
    tiff = mark + struct.pack(order + "HIH", 42, start, told) + entries
    return b"\xff\xe1\x01\x00Exif\0\0" + tiff


def test_orientation_of_damaged_files():
    """As the parser in Python reads them, whatever they hold."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(1000):
        contents = b"\xff\xd8" + _segments(rng) + _exif_segment(rng)
        contents += bytes(rng.integers(0, 30))
        damaged = bytearray(contents)
        for place in rng.integers(2, len(contents), rng.integers(0, 2)):
            damaged[place] = rng.choice([0, 1, 6, 0x12, 0xE1, 0xFF])
        cut = len(contents) * (rng.integers(4) == 0)
        damaged = bytes(damaged[: len(contents) - rng.integers(0, cut + 1)])
        found.append(_reference_orientation(damaged))
        assert exif_orientation(damaged) == found[-1], damaged
    assert set(found) == {1, 3, 6, 8}
    assert sum(value > 1 for value in found) > 100


def test_orientation_is_looked_for_in_the_beginning():
    """In 64 KiB, over any number of segments."""
    exif = b"\xff\xe1\x00\x40Exif\0\0II" + struct.pack(
        "<HIHHHII", 42, 8, 1, 0x0112, 3, 1, 6
    )
    for count, expected in ((0, 6), (5000, 6), (2**14 - 12, 6), (2**14, 1)):
        contents = b"\xff\xd8" + b"\xff\xe2\x00\x02" * count + exif
        assert exif_orientation(contents) == expected
        assert _reference_orientation(contents[: 2**16]) == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("exif", [False, True])
def test_cut_files_are_errors(kind, exif):
    options = {"exif": _exif(6)} if exif else {}
    contents = _bytes(IMAGE, kind, **options)
    for end in (0, 1, 3, 20, 40, len(contents) // 2, len(contents) - 20):
        for decode in (decode_rgb, _GRAPH):
            with pytest.raises(tf.errors.InvalidArgumentError):
                decode(contents[:end])


@pytest.mark.parametrize("contents", [b"hello", _bytes(IMAGE, "BMP")])
def test_what_is_neither_jpeg_nor_png(contents):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_rgb(contents)
