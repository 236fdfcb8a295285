"""What decoding costs a server: `serving_default` against the bare encoder.

    python benchmarks/serving.py

Exports a ResNet-50 (random weights) for images of 224 x 224, and calls the
loaded SavedModel alternately through `serving_default`, on JPEG files, and
through `serve_views`, on the same images already decoded. Medians of the
seconds of a call, and their ratio, at batches of 1, 8 and 64, for files of two
sizes: 224 x 224, and 500 x 375 as in ImageNet. Also the peak memory of requests
of the worst images that the limit of pixels allows, in a process of its own.
Writes `benchmarks/results/serving.json`.
"""

import io
import json
import multiprocessing
import pathlib
import statistics
import tempfile
import time

import numpy as np
import PIL.Image
from absl import flags
from record import ROOT, origin, peak_memory_mib

import minc_tf
from minc_tf.cli import app

_ROUNDS = flags.DEFINE_integer("rounds", 15, "Calls of each kind at batch 1.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)

_BATCHES = (1, 8, 64)
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


def _export(folder) -> str:
    encoder = minc_tf.models.resnet(50, image_shape=(224, 224, 3))
    projector = minc_tf.models.mlp(2048, (512, 128))
    model = minc_tf.MINCModel(
        encoder, projector, objective=minc_tf.objectives.MINC(dim=128)
    )
    return minc_tf.export.export_savedmodel(model, folder)


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
    with tempfile.TemporaryDirectory() as folder:
        path = _export(folder)
        record = {
            **origin(),
            "encoder": "resnet50, 224 x 224, float32",
            "throughput": _ratios(path),
            "memory": _memory(path),
        }
    file = pathlib.Path(_RESULTS.value) / "serving.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    app.launch(main)
