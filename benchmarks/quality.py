"""Quality of a recipe: pretrain, export, evaluate, record.

    python benchmarks/quality.py --config minc_tf:cifar10:minc_cpu \
        --config.data.data_dir=DIR --workdir runs/minc_cpu --name cifar10_minc

Writes `benchmarks/results/NAME.json`: accuracies on the test split, speed, the
command, machine, date and commit. A run that is finished is not repeated.
"""

import json
import os
import pathlib

from absl import flags
from ml_collections import config_flags
from record import origin

from minc_tf import data, evaluation, export, training
from minc_tf.cli import app
from minc_tf.training import config as settings
from minc_tf.training import tensorflow_images

_CONFIG = config_flags.DEFINE_config_file("config", None, "The recipe.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of the run.")
_NAME = flags.DEFINE_string("name", None, "The name of the record.")
_RESULTS = flags.DEFINE_string(
    "results", os.path.join(os.path.dirname(__file__), "results"), "Its folder."
)
flags.mark_flags_as_required(["config", "workdir", "name"])


def main(_) -> None:
    """Runs what is not done yet and writes the record."""
    config = _CONFIG.value
    run = training.run(config, _WORKDIR.value)
    model, _config = training.load_run(_WORKDIR.value)
    path = export.export_savedmodel(
        model,
        os.path.join(_WORKDIR.value, "export"),
        recipe=config.to_dict(),
    )
    batches = [
        data.eval_batches(source, 256)
        for source in tensorflow_images.load_evaluation_sources(config)
    ]
    results = {
        output: evaluation.evaluate_savedmodel(path, *batches, output=output)
        for output in ("features", "embedding")
    }
    made = origin()
    recorded = json.loads(settings.to_json(config))
    if config.data.data_dir:  # where the data lie says nothing to others
        made["command"] = made["command"].replace(config.data.data_dir, "DIR")
        recorded["data"]["data_dir"] = "DIR"
    record = {
        "results": results,
        "run": {key: run[key] for key in run if key != "skipped"},
        **made,
        "config": recorded,
    }
    file = pathlib.Path(_RESULTS.value) / f"{_NAME.value}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(results, indent=2))
    print(f"recorded in {file}")


if __name__ == "__main__":
    app.launch(main)
