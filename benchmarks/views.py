"""Views per CPU-second: this library, stock keras-cv and `tf.image`.

    python benchmarks/views.py

Makes BYOL's pair of views in three settings (images of 32 pixels in memory,
images of 350 x 400 in memory to views of 224, JPEGs of 350 x 400 to views of
224) with each way of making them, and writes `benchmarks/results/views.json`
and `.md`. Takes about two minutes on two cores.

How: the ways take turns in one process, one round each, and what counts is
the CPU time of the process, not the clock, so other programs change little.
A ratio is the median over the rounds of ours to theirs in one round.
`tf.data` neither tunes itself nor prefetches, which would charge the work of
one way to another.
"""

import functools
import json
import os
import pathlib
import statistics
import time

# Before TensorFlow starts.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras_cv
import numpy as np
import tensorflow as tf
from absl import flags
from record import ROOT, origin

from minc_tf import augment
from minc_tf.augment import presets
from minc_tf.cli import app

SOURCE = (350, 400)
#: The smallest ratios of ours to the others that are wanted.
TARGETS = {
    ("32 px", "keras-cv"): 6.0,
    ("224 px", "keras-cv"): 3.5,
    ("224 px", "tf.image"): 1.5,
    ("JPEG to 224 px", "keras-cv"): 3.0,
}
OURS = "minc_tf"

_ROUNDS = flags.DEFINE_integer("rounds", 20, "Rounds, after one to warm up.")
_SETTINGS = flags.DEFINE_list("settings", None, "Settings; all by default.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the table."
)


def main(_) -> None:
    """Measures every setting, and writes the table."""
    # Of keras-cv, for each operation that it cannot vectorise.
    tf.get_logger().setLevel("ERROR")
    settings = {
        "32 px": functools.partial(in_memory, 32, (32, 32), 256, 4),
        "224 px": functools.partial(in_memory, 224, SOURCE, 64, 1),
        "JPEG to 224 px": functools.partial(from_jpeg, 224, 64, 1),
    }
    rows = []
    for name in _SETTINGS.value or settings:
        rates = measure(*settings[name](), rounds=_ROUNDS.value)
        rows += summarise(name, rates)
        for row in rows[-len(rates) :]:
            print(row, flush=True)
    results = pathlib.Path(_RESULTS.value)
    results.mkdir(parents=True, exist_ok=True)
    record = {**origin(), "rounds": _ROUNDS.value, "rows": rows}
    (results / "views.json").write_text(json.dumps(record, indent=2) + "\n")
    (results / "views.md").write_text(table(rows))


def measure(ways: dict, views: int, batches: int, rounds: int) -> dict:
    """Runs the ways in turn.

    Args:
        ways: Endless dataset of batches of each way, by name.
        views: Views in a batch.
        batches: Batches in a round.
        rounds: Rounds that count; one more comes before them.

    Returns:
        Views per CPU-second of each round, by name.
    """
    iterators = {
        name: iter(way.with_options(options())) for name, way in ways.items()
    }
    rates = {name: [] for name in ways}
    for count in range(rounds + 1):
        for name, iterator in iterators.items():
            start = time.process_time()
            for _ in range(batches):
                next(iterator)
            if count:
                seconds = time.process_time() - start
                rates[name].append(views * batches / seconds)
    return rates


def summarise(setting: str, rates: dict) -> list[dict]:
    """One row a way: median rate, and ratio of ours to it."""
    rows = []
    for name, values in rates.items():
        pairs = zip(rates[OURS], values, strict=True)
        rows.append(
            {
                "setting": setting,
                "way": name,
                "views_per_cpu_second": round(statistics.median(values), 1),
                "ours_to_it": round(
                    statistics.median(a / b for a, b in pairs), 2
                ),
                "target": TARGETS.get((setting, name)),
            }
        )
    return rows


def options() -> tf.data.Options:
    """Work is done when it is asked for, by the one who asks."""
    chosen = tf.data.Options()
    chosen.autotune.enabled = False
    chosen.experimental_optimization.inject_prefetch = False
    chosen.experimental_optimization.map_and_batch_fusion = False
    return chosen


def in_memory(size: int, source: tuple, batch: int, batches: int) -> tuple:
    """The ways from arrays to views, and what `measure` needs with them."""
    images = tf.data.Dataset.from_tensors(pictures(batch, source)).repeat()
    singles = images.unbatch()

    def ours(semantics):
        views = augment.MultiView(presets.byol(size, semantics=semantics), size)

        def make(step, pixels):
            seeds = step * batch + tf.range(batch, dtype=tf.int64)
            seeds = tf.stack([tf.zeros_like(seeds), seeds], axis=1)
            return views({"images": pixels, "augmentation_seed": seeds})

        return images.enumerate().map(make)

    stock = stock_pair(size)
    ways = {
        OURS: ours("torchvision"),
        f"{OURS}, semantics='tf'": ours("tf"),
        "keras-cv": images.map(lambda x: [view(x) for view in stock]),
        "tf.image": singles.map(
            functools.partial(tf_image_pair, size=size), num_parallel_calls=2
        ).batch(batch, drop_remainder=True),
    }
    return ways, 2 * batch, batches


def from_jpeg(size: int, batch: int, batches: int) -> tuple:
    """The ways from JPEGs to views, and what `measure` needs with them."""
    encoded = [
        tf.io.encode_jpeg(image, quality=90).numpy()
        for image in pictures(batch, SOURCE)
    ]
    files = tf.data.Dataset.from_tensor_slices(encoded).repeat()
    views = augment.MultiView(presets.byol(size), size)

    def crop(index, file):
        seed = tf.stack([tf.zeros_like(index), index])
        return views.crop(tf.io.decode_jpeg(file, channels=3), seed), seed

    def decode(file):
        image = tf.io.decode_jpeg(file, channels=3)
        return tf.ensure_shape(image, [*SOURCE, 3])

    stock = stock_pair(size)
    ways = {
        OURS: files.enumerate()
        .map(crop)
        .batch(batch, drop_remainder=True)
        .map(views.finish),
        "keras-cv": files.map(decode)
        .batch(batch, drop_remainder=True)
        .map(lambda x: [view(x) for view in stock]),
        "tf.image": files.map(
            lambda file: tf_image_pair(decode(file), size),
            num_parallel_calls=2,
        ).batch(batch, drop_remainder=True),
    }
    return ways, 2 * batch, batches


def pictures(count: int, shape: tuple) -> np.ndarray:
    """Random pictures with the spectrum of photographs, 1 / frequency."""
    rng = np.random.default_rng(0)
    rows = np.fft.fftfreq(shape[0])[:, None]
    columns = np.fft.rfftfreq(shape[1])[None]
    falls = 1.0 / np.maximum(np.hypot(rows, columns), 1.0 / max(shape))
    noise = rng.normal(size=(count, 3, *shape))
    # Three channels with much in common, as in photographs.
    noise = noise[:, :1] + 0.4 * noise
    fields = np.fft.irfft2(np.fft.rfft2(noise) * falls, s=shape)
    fields /= fields.std(axis=(1, 2, 3), keepdims=True)
    images = np.moveaxis(127.5 + 50.0 * fields, 1, -1)
    return images.clip(0, 255).astype(np.uint8)


def stock_pair(size: int) -> list:
    """The two views in layers of keras-cv, as near as they come."""
    layers = keras_cv.layers
    kernel = presets.byol(size)[0].blur_kernel

    def view(blur, solarize):
        def apply(layer, rate):
            return layers.RandomApply(layer, rate=rate, dtype="float32")

        chain = [
            layers.RandomCropAndResize(
                (size, size), (0.08, 1.0), (3 / 4, 4 / 3), dtype="float32"
            ),
            layers.RandomFlip("horizontal", dtype="float32"),
            apply(
                layers.RandomColorJitter(
                    (0, 255), 0.2, 0.4, (0.375, 0.5833), (0.0, 0.2)
                ),
                0.8,
            ),
            apply(layers.Grayscale(output_channels=3), 0.2),
        ]
        smooth = layers.RandomGaussianBlur(kernel, (0.1, 2.0), dtype="float32")
        chain.append(smooth if blur == 1.0 else apply(smooth, blur))
        if solarize:
            invert = layers.Solarization((0, 255), threshold_factor=(128, 128))
            chain.append(apply(invert, solarize))

        def run(images):
            for layer in chain:
                images = layer(images)
            return images

        return run

    return [view(1.0, 0.0), view(0.1, 0.2)]


def tf_image_pair(image: tf.Tensor, size: int) -> tuple:
    """The two views of one image in the manner of SimCLR's official code."""
    return tuple(
        tf_image_view(image, size, blur, solarize)
        for blur, solarize in ((1.0, 0.0), (0.1, 0.2))
    )


def tf_image_view(image, size, blur, solarize):
    """One view of one image, uint8 (H, W, 3)."""
    start, length, _ = tf.image.sample_distorted_bounding_box(
        tf.shape(image),
        tf.zeros([1, 0, 4]),
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        use_image_if_no_bounding_boxes=True,
    )
    image = tf.image.resize(tf.slice(image, start, length), [size, size])
    image = tf.ensure_shape(image, [size, size, 3]) / 255.0
    image = tf.image.random_flip_left_right(image)
    image = maybe(0.8, jitter, image)
    image = maybe(
        0.2,
        lambda x: tf.tile(tf.image.rgb_to_grayscale(x), [1, 1, 3]),
        image,
    )
    kernel = presets.byol(size)[0].blur_kernel
    image = maybe(blur, functools.partial(smooth, kernel=kernel), image)
    image = maybe(solarize, lambda x: tf.where(x < 0.5, x, 1.0 - x), image)
    return 255.0 * image


def maybe(probability, function, image):
    """Applies the function with a probability."""
    if probability in (0.0, 1.0):
        return function(image) if probability else image
    return tf.cond(
        tf.random.uniform([]) < probability,
        lambda: function(image),
        lambda: image,
    )


def jitter(image):
    """Brightness, contrast, saturation and hue, in random order."""
    steps = (
        lambda x: x * tf.random.uniform([], 0.6, 1.4),
        lambda x: tf.image.random_contrast(x, 0.6, 1.4),
        lambda x: tf.image.random_saturation(x, 0.8, 1.2),
        lambda x: tf.image.random_hue(x, 0.1),
    )
    order = tf.random.shuffle(tf.range(4))
    for i in range(4):
        branches = [functools.partial(step, image) for step in steps]
        image = tf.switch_case(order[i], branches)
        image = tf.clip_by_value(image, 0.0, 1.0)
    return image


def smooth(image, kernel):
    """Gaussian blur, separable, with a random sigma."""
    sigma = tf.random.uniform([], 0.1, 2.0)
    distance = tf.range(-(kernel // 2), kernel // 2 + 1, dtype=tf.float32)
    weights = tf.exp(-0.5 * tf.square(distance / sigma))
    weights = tf.tile((weights / tf.reduce_sum(weights))[:, None], [1, 3])
    for shape in ([kernel, 1, 3, 1], [1, kernel, 3, 1]):
        image = tf.nn.depthwise_conv2d(
            image[None], tf.reshape(weights, shape), [1] * 4, "SAME"
        )[0]
    return image


def table(rows: list[dict]) -> str:
    """The rows as a table in Markdown."""
    lines = [
        "| setting | way | views per CPU-second | ours to it | wanted |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        target = f"{row['target']:.1f}" if row["target"] else ""
        lines.append(
            f"| {row['setting']} | {row['way']} | "
            f"{row['views_per_cpu_second']:,.0f} | {row['ours_to_it']:.2f} | "
            f"{target} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.launch(main)
