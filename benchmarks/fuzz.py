"""Damaged images and tensors through an export: nothing may crash the process.

    python benchmarks/fuzz.py --inputs 10000 --tensors 10000

Takes valid JPEG and PNG files of every kind and mutates them: bytes flipped,
parts cut out, doubled, moved to another file, sizes in headers made extreme.
And takes valid tensors of every signature and mutates their shape, type and
values. They run, files in batches, through an exported encoder in processes of
their own, fed as TensorFlow Serving feeds it (`door.py`). Each request must
give vectors that are finite, or an `InvalidArgumentError` that names elements
or the shape that was expected; without the elements named, a batch of files
must then give vectors. Counts outcomes, processes that died or that a limit of
memory ended, and the peak of the memory. Writes `benchmarks/results/fuzz.json`.
"""

import collections
import functools
import io
import json
import multiprocessing
import pathlib
import re
import tempfile
from collections.abc import Callable

import numpy as np
import PIL.Image
from absl import flags
from door import Door
from record import ROOT, origin, peak_memory_mib

import minc_tf
from minc_tf.cli import app

_INPUTS = flags.DEFINE_integer("inputs", 10_000, "How many mutated files.")
_TENSORS = flags.DEFINE_integer("tensors", 10_000, "How many mutated tensors.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the mutations.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)

_BATCH = 8
_CHUNK = 1000
_SIZE = 32
_TENSOR_VALUES = 2**22

#: What a process may hold, in MiB: half of what deploy/ gives the server.
_MEMORY = 2048


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


def mutated_tensor(
    rng: np.random.Generator,
    dtype: np.dtype,
    shape: tuple[int | None, ...],
    files: list[bytes],
) -> np.ndarray:
    """A tensor that was valid once, damaged in up to two ways.

    Args:
        rng: the generator.
        dtype: of what a signature takes.
        shape: the like; None for any size.
        files: valid images, for signatures that take bytes.
    """
    sizes = [int(n or rng.integers(1, 5)) for n in shape]
    if shape[1:3] == (None, None):
        sizes[1:3] = rng.integers(1, 200, 2)
    for _ in range(rng.integers(0, 3)):
        way = rng.integers(6)
        at = int(rng.integers(len(sizes))) if sizes else 0
        if way == 0:
            sizes.insert(at, int(rng.choice([0, 1, 1, 3])))
        elif sizes and way == 1:
            del sizes[at]
        elif sizes and way == 2:
            sizes = sizes[: at + 1]
        elif sizes and way == 3:
            sizes[at] = int(rng.choice([0, 1, 2, 4, 6, 31, 33, 64, 224]))
        elif sizes and way == 4:
            sizes[at] = int(2 ** rng.uniform(0, 20))
        elif sizes:
            sizes[at] = max(0, sizes[at] + int(rng.choice([-1, 1])))
    largest = _TENSOR_VALUES if dtype.kind != "O" else 2**10
    while np.prod(sizes, dtype=float) > largest:
        sizes[int(np.argmax(sizes))] //= 2
    if dtype.kind == "O":
        chosen = np.empty(sizes, object)
        for at in np.ndindex(*sizes):
            chosen[at] = files[rng.integers(len(files))]
        return chosen
    tensor = rng.integers(0, 256, sizes).astype(dtype)
    chance = rng.random()
    if chance < 0.05:
        return tensor.astype(rng.choice(["int32", "float64", "uint8"]))
    if chance < 0.2 and dtype.kind == "f" and tensor.size:
        bad = [np.nan, np.inf, -np.inf]
        tensor.flat[rng.integers(tensor.size)] = rng.choice(bad)
    return tensor


def serve_tensor(door: Door, name: str, tensor: np.ndarray) -> str:
    """Run a signature on a tensor; say whether it was refused and why.

    Args:
        door: the export.
        name: of the signature.
        tensor: what it is fed.

    Raises:
        AssertionError: something was served that has another shape, or vectors
            are not finite, or an error does not say what would be right.
    """
    import tensorflow as tf

    dtype, shape = door.spec(name)
    fits = len(shape) == tensor.ndim and tensor.dtype == dtype
    fits = fits and all(
        n in (None, m) for n, m in zip(shape, tensor.shape, strict=True)
    )
    try:
        vectors = door(name, tensor)
    except tf.errors.InvalidArgumentError as error:
        text = ",".join("?" if n is None else str(n) for n in shape)
        if f"expected shape [{text}]" in error.message:
            assert not fits, error.message
            return "another shape than expected"
        if re.search("Type mismatch: actual .* expect", error.message):
            assert tensor.dtype != dtype, error.message
            return "another type than expected"
        known = re.search(
            r"is an empty batch|have no pixels: expected shape"
            r"|has pixel values that are not finite",
            error.message,
        )
        assert known, error.message
        return known[0].partition(":")[0]
    assert fits, f"{name} served {tensor.dtype} {tensor.shape}"
    finite = tensor.dtype.kind != "f" or np.isfinite(tensor).all()
    for output, values in vectors.items():
        assert len(values) == len(tensor), output
        assert np.isfinite(values).all() or not finite, output
    return "served"


def serve(call: Callable, batch: list[bytes]) -> list[str]:
    """Run a batch; say of each element whether it was refused and why.

    Args:
        call: function of an array of encoded images, of `serving_default`.
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
        vectors = call(np.array(batch, object))
    except tf.errors.InvalidArgumentError as error:
        named = re.findall(r"image_bytes\[(\d+)\] ([^;\]]*)", error.message)
        assert named, error.message
        for place, reason in named:
            outcome[int(place)] = re.sub(r"\d+", "N", reason)
        kept = [i for i, text in enumerate(outcome) if text == "served"]
        if kept:
            again = serve(call, [batch[i] for i in kept])
            assert set(again) == {"served"}, "an element was refused later"
        return outcome
    for name, values in vectors.items():
        assert len(values) == len(batch), name
        assert np.isfinite(values).all(), f"{name} is not finite"
    return outcome


def _serve_files(door, count, seed):
    """Outcomes of mutated files."""
    inputs = mutations(count, seed)
    call = functools.partial(door, "serving_default")
    for start in range(0, count, _BATCH):
        yield from serve(call, inputs[start : start + _BATCH])


def _serve_tensors(door, count, seed):
    """Outcomes of mutated tensors, of all signatures in turn."""
    rng = np.random.default_rng(seed)
    files = list(valid_files().values())
    names = sorted(door.signatures)
    for i in range(count):
        name = names[i % len(names)]
        tensor = mutated_tensor(rng, *door.spec(name), files)
        yield serve_tensor(door, name, tensor)


_KINDS = {"files": _serve_files, "tensors": _serve_tensors}


def _work(path, kind, seed, count, results):
    """A process: serves mutated requests and sends what came of them."""
    door = Door(path)
    counts = collections.Counter()
    for outcome in _KINDS[kind](door, count, seed):
        counts[outcome] += 1
        if sum(counts.values()) % 50 == 0 and peak_memory_mib() > _MEMORY:
            raise MemoryError(f"more than {_MEMORY} MiB")
    results.put((dict(counts), peak_memory_mib()))


def _export(folder):
    encoder = minc_tf.models.small_resnet(
        image_shape=(_SIZE, _SIZE, 3), filters=(16, 32)
    )
    projector = minc_tf.models.mlp(32, (32, 16))
    model = minc_tf.MINCModel(
        encoder, projector, objective=minc_tf.objectives.MINC(dim=16, mu=None)
    )
    return minc_tf.export.export_savedmodel(model, folder)


def _fuzz(path, kind, total) -> dict:
    """The record of requests of a kind."""
    context = multiprocessing.get_context("spawn")
    counts, crashes, peaks = collections.Counter(), [], []
    for start in range(0, total, _CHUNK):
        seed = _SEED.value + start
        count = min(_CHUNK, total - start)
        results = context.SimpleQueue()
        worker = context.Process(
            target=_work, args=(path, kind, seed, count, results)
        )
        worker.start()
        worker.join()
        if worker.exitcode:
            crashes.append({"seed": seed, "exit_code": worker.exitcode})
            continue
        found, peak = results.get()
        counts.update(found)
        peaks.append(peak)
    return {
        "inputs": total,
        "outcomes": dict(counts.most_common()),
        "crashes": crashes,
        "peak_memory_mib": max(peaks, default=None),
    }


def main(_) -> None:
    """Serves, prints and records."""
    with tempfile.TemporaryDirectory() as folder:
        path = _export(folder)
        record = {
            **origin(),
            "memory_limit_mib": _MEMORY,
            "files": _fuzz(path, "files", _INPUTS.value),
            "tensors": _fuzz(path, "tensors", _TENSORS.value),
        }
    text = json.dumps(record, indent=2)
    print(text)
    file = pathlib.Path(_RESULTS.value) / "fuzz.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


if __name__ == "__main__":
    app.launch(main)
