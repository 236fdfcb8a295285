"""What decoding costs a server: `serving_default` against the bare encoder.

    python benchmarks/serving.py

Exports a ResNet-50 (random weights) for images of 224 x 224, and calls the
loaded SavedModel alternately through `serving_default`, on JPEG files, and
through `serve_views`, on the same images already decoded. Medians of the
seconds of a call, and their ratio, at batches of 1, 8 and 64, for files of two
sizes: 224 x 224, and 500 x 375 as in ImageNet. Also the peak memory of requests
of the worst images that the limit of pixels allows, in a process of its own.
And what the checks of shapes cost: `serving_default` of two exports of one
model, with them and without, called in turn as TensorFlow Serving does
(`door.py`). Writes `benchmarks/results/serving.json`.

    python benchmarks/serving.py --only=checks

measures that alone, and writes `serving_checks.json`.
"""

import io
import json
import multiprocessing
import pathlib
import statistics
import tempfile
import time
import unittest.mock

import numpy as np
import PIL.Image
from absl import flags
from door import Door
from record import ROOT, origin, peak_memory_mib

import minc_tf
from minc_tf.cli import app

_ROUNDS = flags.DEFINE_integer("rounds", 15, "Calls of each kind at batch 1.")
_ONLY = flags.DEFINE_enum("only", None, ["checks"], "Measure this alone.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)

_BATCHES = (1, 8, 64)
#: Encoder, whether it is the small one, batch and rounds of the checks.
_CHECKED = (
    ("small_resnet, 32 x 32", True, 1, 1000),
    ("small_resnet, 32 x 32", True, 8, 300),
    ("resnet50, 224 x 224", False, 1, 40),
)
_SIZES = {"224x224": (224, 224), "500x375": (500, 375)}


def _photo(rng, size) -> PIL.Image.Image:
    """Noise on several scales, which compresses about as a photo does."""
    image = np.zeros((size[1], size[0], 3))
    for scale in (4, 16, 64):
        shape = (size[0] // scale + 1, size[1] // scale + 1)
        noise = rng.integers(0, 256, (shape[1], shape[0], 3), np.uint8)
        layer = PIL.Image.fromarray(noise).resize(size, PIL.Image.BICUBIC)
        image += np.asarray(layer) / 3
    return PIL.Image.fromarray(image.astype(np.uint8))


def _encoded(image, kind="JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _model(small=False):
    if small:
        encoder = minc_tf.models.small_resnet(
            image_shape=(32, 32, 3), filters=(16, 32)
        )
    else:
        encoder = minc_tf.models.resnet(50, image_shape=(224, 224, 3))
    projector = minc_tf.models.mlp(encoder.output_shape[-1], (512, 128))
    return minc_tf.MINCModel(
        encoder, projector, objective=minc_tf.objectives.MINC(dim=128, mu=None)
    )


def _checks() -> list[dict]:
    """Rows of what the checks of shapes cost a request."""
    import tensorflow as tf

    def unchecked(function, spec):
        return tf.function(function)

    rng = np.random.default_rng(0)
    rows = []
    for name, small, batch, rounds in _CHECKED:
        model = _model(small)
        with tempfile.TemporaryDirectory() as folder:
            export = minc_tf.export.export_savedmodel
            doors = [Door(export(model, folder))]
            with unittest.mock.patch(
                "minc_tf.export.savedmodel._checked", unchecked
            ):
                doors.append(Door(export(model, folder)))
        size = (32, 32) if small else (224, 224)
        files = [_encoded(_photo(rng, size), quality=90) for _ in range(batch)]
        contents = np.array(files, object)
        seconds = []
        for index in range(rounds + 3):
            pair = [0.0, 0.0]
            # Each is the first as often as the other.
            for which in (0, 1) if index % 2 else (1, 0):
                start = time.perf_counter()
                doors[which]("serving_default", contents)
                pair[which] = time.perf_counter() - start
            seconds.append(pair)
        found = np.array(seconds[3:])  # the first calls make buffers
        # Of two rounds, one in each order.
        both = found[: rounds // 2 * 2].reshape(-1, 2, 2).sum(1)
        ratios = both[:, 0] / both[:, 1]
        # The standard error of a median, from the middle half.
        low, high = np.percentile(ratios, [25, 75])
        row = {
            "encoder": name,
            "batch": batch,
            "with_checks": float(np.median(found[:, 0])),
            "without": float(np.median(found[:, 1])),
            "ratio": float(np.median(ratios)),
            "standard_error": float(0.93 * (high - low) / len(ratios) ** 0.5),
            "rounds": rounds,
        }
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def _ratios(path) -> list[dict]:
    """Rows of one size of files at one batch."""
    import tensorflow as tf

    signatures = tf.saved_model.load(path).signatures
    rng = np.random.default_rng(0)
    rows = []
    for name, size in _SIZES.items():
        photos = [_photo(rng, size) for _ in range(8)]
        files = [_encoded(photo, quality=90) for photo in photos]
        for batch in _BATCHES:
            contents = tf.constant([files[i % 8] for i in range(batch)])
            views = tf.random.uniform((batch, 224, 224, 3), 0.0, 255.0)
            calls = {
                "serving_default": (signatures["serving_default"], contents),
                "serve_views": (signatures["serve_views"], views),
            }
            seconds = {kind: [] for kind in calls}
            rounds = max(3, _ROUNDS.value // batch)
            for index in range(rounds + 1):
                for kind, (signature, inputs) in calls.items():
                    start = time.perf_counter()
                    signature(inputs)["features"].numpy()
                    if index:  # the first call makes buffers
                        elapsed = time.perf_counter() - start
                        seconds[kind].append(elapsed)
            pairs = zip(*seconds.values(), strict=True)
            row = {
                "files": name,
                "file_kib": statistics.mean(map(len, files)) / 1024,
                "batch": batch,
                **{k: statistics.median(v) for k, v in seconds.items()},
                "ratio": statistics.median(a / b for a, b in pairs),
                "rounds": rounds,
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


def _worst() -> dict[str, bytes]:
    """Images just below the limit of pixels, in the costliest encodings."""
    side = 5792  # its square is just below 2^25
    grey = PIL.Image.new("L", (side, side), 120)
    colour = PIL.Image.merge("RGB", [grey] * 3)
    with_alpha = PIL.Image.merge("RGBA", [grey] * 4)
    return {
        "progressive JPEG": _encoded(colour, progressive=True, subsampling=0),
        "PNG with alpha": _encoded(with_alpha, "PNG"),
    }


def _peak(path, contents, results):
    """A process: serves a batch of such images and sends its peak memory."""
    import tensorflow as tf

    signature = tf.saved_model.load(path).signatures["serving_default"]
    small = _encoded(PIL.Image.new("RGB", (224, 224)))
    signature(tf.constant([small] * 8))
    before = peak_memory_mib()
    signature(tf.constant([contents] * 8))
    after = peak_memory_mib()
    results.put((before, after))


def _memory(path) -> list[dict]:
    context = multiprocessing.get_context("spawn")
    rows = []
    for name, contents in _worst().items():
        results = context.SimpleQueue()
        worker = context.Process(target=_peak, args=(path, contents, results))
        worker.start()
        before, after = results.get()
        worker.join()
        rows.append(
            {
                "image": name,
                "pixels": 5792**2,
                "batch": 8,
                "file_mib": len(contents) / 2**20,
                "peak_mib_before": before,
                "peak_mib": after,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main(_) -> None:
    """Measures, prints and records."""
    record = {**origin(), "checks": _checks()}
    name = "serving_checks.json"
    if _ONLY.value is None:
        name = "serving.json"
        with tempfile.TemporaryDirectory() as folder:
            path = minc_tf.export.export_savedmodel(_model(), folder)
            record |= {
                "encoder": "resnet50, 224 x 224, float32",
                "throughput": _ratios(path),
                "memory": _memory(path),
            }
    file = pathlib.Path(_RESULTS.value) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    app.launch(main)
