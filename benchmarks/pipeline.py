"""Training from the pipeline against training from tensors in memory.

    python benchmarks/pipeline.py --config minc_tf:cifar10:minc_cpu \
        --config.data.data_dir=DIR

The same step, alternately on the recipe's views and on one batch of random
tensors that is given again and again; medians of images/s over the rounds, and
their ratio: 1 would be an input pipeline that costs nothing. Also the resident
memory over the steps on the views. Writes
`benchmarks/results/pipeline.json`.
"""

import json
import pathlib
import statistics
import time

import psutil
import tensorflow as tf
from absl import flags
from record import ROOT, origin

from minc_tf import data
from minc_tf.cli import app
from minc_tf.training import from_settings, tensorflow_images

_CONFIG = app.define_recipe("The recipe; --config.KEY=VALUE overrides.")
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Rounds of both kinds.")
_STEPS = flags.DEFINE_integer("steps", 100, "Steps a round.")
_RESULTS = flags.DEFINE_string(
    "results", str(ROOT / "benchmarks/results"), "Folder of the record."
)
flags.mark_flag_as_required("config")


def main(_) -> None:
    """Measures, prints and records."""
    config = _CONFIG.value
    source = tensorflow_images.load_train_source(config)
    views = tensorflow_images.build_views(config)
    model = from_settings.build_model(config)
    steps = len(source) // config.batch_size
    model.compile(
        from_settings.build_optimizer(config, steps, model),
        jit_compile=config.jit_compile,
    )
    stream = data.view_batches(source, views, config.batch_size)
    shapes = [spec.shape for spec in stream.element_spec]
    held = tuple(tf.random.uniform(shape, 0.0, 255.0) for shape in shapes)
    kinds = {
        "views": iter(stream),
        "tensors": iter(tf.data.Dataset.from_tensors(held).repeat()),
    }
    step = tf.function(model.train_step, jit_compile=config.jit_compile)
    speeds = {name: [] for name in kinds}
    memory = []
    for index in range(_ROUNDS.value + 1):
        for name, batches in kinds.items():
            start = time.perf_counter()
            for _ in range(_STEPS.value):
                step(next(batches))
            seconds = time.perf_counter() - start
            if index:  # the first round compiles
                images = _STEPS.value * config.batch_size
                speeds[name].append(images / seconds)
        memory.append(psutil.Process().memory_info().rss / 2**20)
    medians = {name: statistics.median(s) for name, s in speeds.items()}
    made = origin()
    if config.data.data_dir:
        made["command"] = made["command"].replace(config.data.data_dir, "DIR")
    record = {
        **made,
        "images_per_second": medians,
        "ratio": statistics.median(
            a / b
            for a, b in zip(speeds["views"], speeds["tensors"], strict=True)
        ),
        "rounds": speeds,
        "memory_mib_after_each_round": memory,
    }
    file = pathlib.Path(_RESULTS.value) / "pipeline.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    app.launch(main)
