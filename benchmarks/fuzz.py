"""Damaged images through `serving_default`: nothing may crash the process.

    python benchmarks/fuzz.py --inputs 10000

Takes valid JPEG and PNG files of every kind and mutates them: bytes flipped,
parts cut out, doubled, moved to another file, sizes in headers made extreme.
Batches of them run through an exported encoder in processes of their own. Each
batch must give vectors that are finite, or an `InvalidArgumentError` that names
elements; without these elements it must then give vectors. Counts outcomes,
processes that died, and the peak of the memory. Writes
`benchmarks/results/fuzz.json`.
"""

import collections
import io
import json
import multiprocessing
import pathlib
import re
import tempfile

import numpy as np
import PIL.Image
from absl import flags
from record import ROOT, origin, peak_memory_mib

import minc_tf
from minc_tf.cli import app

_INPUTS = flags.DEFINE_integer("inputs", 10_000, "How many mutated files.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the mutations.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)

_BATCH = 8
_CHUNK = 1000
_SIZE = 32


def valid_files(seed: int = 0) -> dict[str, bytes]:
    """Small images of every kind that is served, by name."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (40, 56, 3), np.uint8)
    pixels = np.repeat(np.repeat(pixels[:8, :8], 5, 0), 7, 1) // 2 + pixels // 2
    image = PIL.Image.fromarray(pixels)
    alpha = PIL.Image.fromarray(pixels[..., 0])
    with_alpha = image.copy()
    with_alpha.putalpha(alpha)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    deep = PIL.Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    kinds = {
        "rgb.jpg": (image, {}),
        "grey.jpg": (image.convert("L"), {}),
        "cmyk.jpg": (image.convert("CMYK"), {}),
        "progressive.jpg": (image, {"progressive": True}),
        "turned.jpg": (image, {"exif": exif}),
        "full_chroma.jpg": (image, {"subsampling": 0, "quality": 98}),
        "rgb.png": (image, {}),
        "grey.png": (image.convert("L"), {}),
        "palette.png": (image.quantize(16), {}),
        "bits.png": (image.convert("1"), {}),
        "deep.png": (deep, {}),
        "alpha.png": (with_alpha, {}),
        "grey_alpha.png": (with_alpha.convert("LA"), {}),
    }
    files = {}
    for name, (picture, options) in kinds.items():
        buffer = io.BytesIO()
        kind = "JPEG" if name.endswith("jpg") else "PNG"
        picture.save(buffer, kind, **options)
        files[name] = buffer.getvalue()
    return files


def mutations(count: int, seed: int) -> list[bytes]:
    """Files that were valid once, each damaged in one or two ways."""
    rng = np.random.default_rng(seed)
    files = list(valid_files().values())
    found = []
    for _ in range(count):
        contents = bytearray(files[rng.integers(len(files))])
        for _ in range(rng.integers(1, 3)):
            _WAYS[rng.integers(len(_WAYS))](rng, contents, files)
        found.append(bytes(contents))
    return found


def _place(rng, contents):
    """Somewhere in a file; half of the time among its headers."""
    end = len(contents) if rng.random() < 0.5 else min(len(contents), 200)
    return int(rng.integers(end + 1))


def _flip(rng, contents, files):
    for _ in range(rng.integers(1, 9)):
        at = _place(rng, contents)
        contents[at : at + 1] = bytes([rng.integers(256)])


def _extreme(rng, contents, files):
    at, width = _place(rng, contents), int(rng.choice([1, 2, 4]))
    contents[at : at + width] = rng.choice([b"\0", b"\x7f", b"\xff"]) * width


def _cut(rng, contents, files):
    at = _place(rng, contents)
    del contents[at : at + int(rng.integers(1, 50))]


def _end(rng, contents, files):
    del contents[_place(rng, contents) :]


def _double(rng, contents, files):
    at = _place(rng, contents)
    contents[at:at] = contents[at : at + int(rng.integers(1, 200))]


def _insert(rng, contents, files):
    at = _place(rng, contents)
    contents[at:at] = rng.bytes(int(rng.integers(1, 20)))


def _splice(rng, contents, files):
    other = files[rng.integers(len(files))]
    at = _place(rng, contents)
    contents[at:] = other[_place(rng, other) :]


_WAYS = (_flip, _flip, _extreme, _cut, _end, _double, _insert, _splice)


def serve(signature, batch: list[bytes]) -> list[str]:
    """Run a batch; say of each element whether it was refused and why.

    Args:
        signature: the loaded `serving_default`.
        batch: the encoded images.

    Returns:
        A list of str: `"served"`, or the reason.

    Raises:
        AssertionError: the answer is neither finite vectors nor an error that
            names elements.
    """
    import tensorflow as tf

    outcome = ["served"] * len(batch)
    try:
        vectors = signature(image_bytes=tf.constant(batch, tf.string))
    except tf.errors.InvalidArgumentError as error:
        named = re.findall(r"image_bytes\[(\d+)\] ([^;\]]*)", error.message)
        assert named, error.message
        for place, reason in named:
            outcome[int(place)] = re.sub(r"\d+", "N", reason)
        kept = [i for i, text in enumerate(outcome) if text == "served"]
        if kept:
            again = serve(signature, [batch[i] for i in kept])
            assert set(again) == {"served"}, "an element was refused later"
        return outcome
    for name, values in vectors.items():
        assert len(values) == len(batch), name
        assert np.isfinite(values).all(), f"{name} is not finite"
    return outcome


def _work(path, seed, count, results):
    """A process: serves mutated files and sends what came of them."""
    import tensorflow as tf

    signature = tf.saved_model.load(path).signatures["serving_default"]
    inputs = mutations(count, seed)
    counts = collections.Counter()
    for start in range(0, count, _BATCH):
        counts.update(serve(signature, inputs[start : start + _BATCH]))
    peak = peak_memory_mib()
    results.put((dict(counts), peak))


def _export(folder):
    encoder = minc_tf.models.small_resnet(
        image_shape=(_SIZE, _SIZE, 3), filters=(16, 32)
    )
    projector = minc_tf.models.mlp(32, (32, 16))
    model = minc_tf.MINCModel(
        encoder, projector, objective=minc_tf.objectives.MINC(dim=16)
    )
    return minc_tf.export.export_savedmodel(model, folder)


def main(_) -> None:
    """Serves, prints and records."""
    context = multiprocessing.get_context("spawn")
    counts, crashes, peaks = collections.Counter(), [], []
    with tempfile.TemporaryDirectory() as folder:
        path = _export(folder)
        for start in range(0, _INPUTS.value, _CHUNK):
            seed = _SEED.value + start
            count = min(_CHUNK, _INPUTS.value - start)
            results = context.SimpleQueue()
            worker = context.Process(
                target=_work, args=(path, seed, count, results)
            )
            worker.start()
            worker.join()
            if worker.exitcode:
                crashes.append({"seed": seed, "exit_code": worker.exitcode})
                continue
            found, peak = results.get()
            counts.update(found)
            peaks.append(peak)
    record = {
        **origin(),
        "inputs": _INPUTS.value,
        "outcomes": dict(counts.most_common()),
        "crashes": crashes,
        "peak_memory_mib": max(peaks, default=None),
    }
    text = json.dumps(record, indent=2)
    print(text)
    file = pathlib.Path(_RESULTS.value) / "fuzz.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


if __name__ == "__main__":
    app.launch(main)
