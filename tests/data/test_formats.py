"""Kinds of image files, and what in a folder is none that can be read."""

import io
import os
import pathlib
import re
import socket
import struct

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from minc_tf.data import EncodedSource, formats, load, load_folder, load_npz
from minc_tf.data.decoding import decode_image, graph_decode_image
from minc_tf.data.files import BadImageError
from minc_tf.data.limits import LARGE_PIXELS, MAX_PIXELS
from minc_tf.evaluation.embedding.named_images import named_images

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8)
LOSSLESS = {
    "PNG": {},
    "BMP": {},
    "GIF": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "JPEG2000": {"irreversible": False},
}


def encode(kind, pixels=PIXELS, mode=None, **options):
    buffer = io.BytesIO()
    image = PIL.Image.fromarray(pixels)
    image = image.convert(mode) if mode else image
    image.save(buffer, kind, **LOSSLESS.get(kind, {}), **options)
    return buffer.getvalue()


def pillow(contents):
    return np.asarray(PIL.Image.open(io.BytesIO(contents)).convert("RGB"))


def in_graph(contents, max_pixels=MAX_PIXELS, **options):
    def decode(contents):
        return graph_decode_image(
            contents, max_pixels, None, lambda image: image, **options
        )

    spec = tf.TensorSpec([], tf.string)
    return tf.function(decode, input_signature=[spec])(contents).numpy()


@pytest.fixture
def no_pillow(monkeypatch):
    monkeypatch.setattr(formats, "pillow_kinds", frozenset)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_every_kind_equals_pillow(kind):
    contents = encode(kind)
    wanted = pillow(contents)
    np.testing.assert_array_equal(decode_image(contents, 10**6), wanted)
    np.testing.assert_array_equal(in_graph(contents), wanted)


@pytest.mark.parametrize(("kind", "mode"), [("BMP", "P"), ("GIF", "L")])
def test_few_colours(kind, mode):
    contents = encode(kind, mode=mode)
    found = decode_image(contents, 10**6)
    np.testing.assert_array_equal(found, pillow(contents))


def test_without_pillow(no_pillow):
    """TensorFlow's own are the same, the others say what is missing."""
    for kind in ("PNG", "BMP", "GIF"):
        contents = encode(kind)
        found = decode_image(contents, 10**6)
        np.testing.assert_array_equal(found, pillow(contents))
    for contents in (encode("WEBP"), encode("TIFF"), encode("BMP", mode="P")):
        with pytest.raises(BadImageError, match="pip install pillow"):
            decode_image(contents, 10**6)


def test_a_tiff_of_16_bits_and_a_transparent_webp():
    deep = (PIXELS[..., 0].astype(np.uint16) << 8) + 77
    found = decode_image(encode("TIFF", deep), 10**6).numpy()
    np.testing.assert_array_equal(found[..., 1], PIXELS[..., 0])
    with pytest.raises(BadImageError, match="of 32 bits"):
        decode_image(encode("TIFF", np.float32(PIXELS[..., 0])), 10**6)
    clear = np.dstack([PIXELS, np.zeros((9, 14), np.uint8)])
    found = decode_image(encode("WEBP", clear), 10**6)
    np.testing.assert_array_equal(found, np.full_like(PIXELS, 255))


def test_of_an_animation_the_first_frame():
    frames = [PIL.Image.fromarray(np.full((6, 6, 3), v, "u1")) for v in (9, 99)]
    for kind in ("GIF", "WEBP"):
        buffer = io.BytesIO()
        options = {"save_all": True, "append_images": frames[1:]}
        frames[0].save(buffer, kind, **options, **LOSSLESS[kind])
        found = decode_image(buffer.getvalue(), 10**6)
        np.testing.assert_array_equal(found, np.full((6, 6, 3), 9))


def _resized(kind):
    """A file whose header tells of 30,000 x 30,000 pixels."""
    contents = bytearray(encode(kind))
    side = 30_000
    if kind == "PNG":
        contents[16:24] = struct.pack(">II", side, side)
    if kind == "JPEG":
        place = contents.index(b"\xff\xc0") + 5
        contents[place : place + 4] = struct.pack(">HH", side, side)
    if kind == "GIF":
        contents[6:10] = struct.pack("<HH", side, side)
    if kind == "BMP":
        contents[18:26] = struct.pack("<ii", side, -side)
    if kind == "WEBP":
        start = contents.index(b"VP8L")
        bits = (side // 2 - 1) | (side // 2 - 1) << 14
        contents[start + 9 : start + 13] = struct.pack("<I", bits)
    if kind == "TIFF":
        for tag in (256, 257):
            place = contents.index(struct.pack("<HHI", tag, 4, 1))
            contents[place + 8 : place + 12] = struct.pack("<I", side)
    return bytes(contents)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_headers_that_tell_of_too_many_pixels(kind):
    contents = _resized(kind)
    with pytest.raises(BadImageError, match=r"^too large: "):
        decode_image(contents, MAX_PIXELS)
    with pytest.raises(tf.errors.InvalidArgumentError, match="too large"):
        in_graph(contents)


@pytest.mark.parametrize("kind", ["JPEG", *LOSSLESS])
def test_the_limit_is_exact(kind):
    contents = encode(kind)
    for decode in (decode_image, in_graph):
        assert decode(contents, 9 * 14).shape == (9, 14, 3)
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            decode(contents, 9 * 14 - 1)


@pytest.mark.parametrize("kind", ["JPEG", *LOSSLESS])
def test_damage_is_the_files_fault(kind):
    contents = encode(kind)
    for cut in (0, 1, 10, 24, 30, len(contents) // 2):
        with pytest.raises(BadImageError) as error:
            decode_image(contents[:cut], 10**6)
        assert "\n" not in str(error.value)


def test_large_images_in_the_graph():
    """Python decodes them, as the graph does the small ones."""
    pixels = np.zeros((1025, LARGE_PIXELS // 1024, 3), np.uint8)
    pixels[::7, ::3] = 200
    np.testing.assert_array_equal(in_graph(encode("PNG", pixels)), pixels)
    found = in_graph(encode("PNG", pixels), portable=True)
    np.testing.assert_array_equal(found, pixels)


def test_services_decode_jpeg_and_png_only(tmp_path):
    (tmp_path / "a.png").write_bytes(encode("PNG"))
    (tmp_path / "b.bmp").write_bytes(encode("BMP"))
    with pytest.raises(ValueError, match=r"service, .* it has '.bmp' files"):
        load_folder(tmp_path).portable()
    source = EncodedSource([encode("BMP")], None, (9, 14, 3), files=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="a JPEG or PNG"):
        list(source.portable().examples(1))


@pytest.fixture
def mixed(tmp_path):
    """Five images that are read, one that is not, and two other files."""
    for i, kind in enumerate(("PNG", "BMP", "GIF", "WEBP", "TIFF")):
        (tmp_path / f"{i}.{kind.lower()}").write_bytes(encode(kind))
    (tmp_path / "5.heic").write_bytes(b"heic")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "labels.doc").write_text("no image")
    return tmp_path


def test_one_rule_for_training_and_embedding(mixed, caplog):
    caplog.set_level("INFO")
    with pytest.raises(ValueError, match=r"5.heic' cannot \(.heic files are"):
        load_folder(mixed)
    source = load_folder(mixed, skip_bad=True)
    assert source.skipped == [str(mixed / "5.heic")]
    assert "left out 1 .doc, 1 .heic, 1 .txt" in caplog.text
    (batch,) = source.examples(9)
    order = [
        pillow((mixed / n).read_bytes())
        for n in sorted(os.listdir(mixed))
        if n[0] in "01234"
    ]
    np.testing.assert_array_equal(batch["image"], order)
    named = named_images(mixed)
    assert [str(mixed / name) for name in named.names] == source.paths
    assert named.bad == [("5.heic", ".heic files are not read: convert them")]
    assert "left out 1 .doc, 1 .txt" in caplog.text


def test_one_rule_without_pillow(mixed, monkeypatch):
    monkeypatch.setattr(formats, "pillow_kinds", frozenset)
    with pytest.raises(ValueError, match=r"3.webp' cannot .*install pillow"):
        load_folder(mixed)
    skipped = load_folder(mixed, skip_bad=True).skipped
    bad = [str(mixed / name) for name, _ in named_images(mixed).bad]
    assert sorted(skipped) == bad
    assert [pathlib.Path(path).name for path in bad] == [
        "3.webp",
        "4.tiff",
        "5.heic",
    ]


def test_a_file_of_another_kind_than_its_name(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode("WEBP"))
    (tmp_path / "b.png").write_bytes(encode("GIF"))
    assert len(load_folder(tmp_path)) == 2


@pytest.fixture
def special(tmp_path, monkeypatch):
    """A pipe, a socket, a device, and links to each and to a file."""
    (tmp_path / "a.png").write_bytes(encode("PNG"))
    os.mkfifo(tmp_path / "b.png")
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("c.jpg")
        (tmp_path / "d.jpg").symlink_to("/dev/zero")
        (tmp_path / "e.gif").symlink_to("b.png")
        (tmp_path / "f.png").symlink_to("a.png")
        yield tmp_path


def test_only_regular_files_are_read(special):
    with pytest.raises(ValueError, match=r"b.png' cannot \(a named pipe"):
        load_folder(special)
    for check in ("all", "header"):
        source = load_folder(special, skip_bad=True, check=check)
        names = [os.path.basename(path) for path in source.skipped]
        assert (len(source), names) == (2, ["b.png", "c.jpg", "d.jpg", "e.gif"])
    named = named_images(special)
    assert named.names == ["a.png", "f.png"]
    assert [reason.partition(",")[0] for _, reason in named.bad] == [
        "a named pipe",
        "a socket",
        "a device",
        "a named pipe",
    ]
    for path in ("b.png", "d.jpg"):
        source = EncodedSource([path], None, (9, 14, 3), files=True)
        with pytest.raises(ValueError, match="no regular file"):
            source.at(0)


@pytest.mark.parametrize("name", ["npz", "tfrecord", "arrayrecord"])
def test_a_data_dir_that_is_no_regular_file(special, name):
    for path in ("b.png", "d.jpg"):
        with pytest.raises(ValueError, match="data_dir must be a regular fi"):
            load(name, data_dir=special / path)
    (special / "folder").mkdir()
    os.mkfifo(special / "folder" / "train.npz")
    with pytest.raises(ValueError, match=r"train.npz' is a named pipe"):
        load_npz(special / "folder")


def test_a_label_file_that_is_a_pipe(tmp_path):
    (tmp_path / "a.png").write_bytes(encode("PNG"))
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(ValueError, match=r"labels.csv must be a regular file"):
        load_folder(tmp_path)


@pytest.mark.parametrize("name", ["Labels.csv", "label.csv", "LABELS.TSV"])
def test_a_label_file_of_another_name(tmp_path, name, caplog):
    (tmp_path / "a.png").write_bytes(encode("PNG"))
    (tmp_path / name).write_text("file,label\na.png,x\n")
    with pytest.raises(ValueError, match=f"it has '{name}': rename it, or"):
        load_folder(tmp_path)
    (tmp_path / name).rename(tmp_path / "prices.csv")
    assert load_folder(tmp_path).class_names is None
    assert (
        "prices.csv is not read; labels would be in labels.csv" in caplog.text
    )


def test_a_field_that_is_too_long(tmp_path):
    (tmp_path / "a.png").write_bytes(encode("PNG"))
    (tmp_path / "labels.csv").write_text(f"file,label\na.png,{'x' * 131_073}\n")
    with pytest.raises(ValueError, match=r"line 2 is not \(field larger") as e:
        load_folder(tmp_path)
    assert "UTF-8" not in str(e.value)


@pytest.mark.parametrize("inner", ["", "cat"])
def test_names_that_are_no_text(tmp_path, inner):
    folder = tmp_path / inner
    folder.mkdir(exist_ok=True)
    path = folder / os.fsdecode(b"caf\xe9.png")
    path.write_bytes(encode("PNG"))
    for read in (load_folder, named_images):
        with pytest.raises(ValueError) as error:
            read(tmp_path)
        assert re.search(
            r"UTF-8; received b'caf\\xe9.png' in", str(error.value)
        )
    path.rename(folder / "a.png")
    (tmp_path / os.fsdecode(b"dos\xe9")).mkdir()
    with pytest.raises(ValueError, match="UTF-8"):
        load_folder(tmp_path)
