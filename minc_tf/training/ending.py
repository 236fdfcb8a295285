"""What a run leaves when it ends: model, summary, pictures."""

import json
import os
import platform
import time
from importlib import metadata

import keras
import numpy as np
import tensorflow as tf

from minc_tf import evaluation, export, models
from minc_tf.training import pictures
from minc_tf.training.checkpoints import step_of
from minc_tf.training.config import default_config


def write_results(folder, model, rows, train, collapse):
    """Writes the model, then the summary, which says that the run ended."""
    part = folder.model.with_suffix(".tmp.keras")
    model.save(part)
    os.replace(part, folder.model)
    summary = {**_summary(model, rows, train), "collapse": collapse}
    part = folder.summary.with_suffix(".tmp")
    part.write_text(json.dumps(summary, indent=2) + "\n")
    os.replace(part, folder.summary)


def neighbours(model, train, test):
    """A picture of the nearest training images of a few (test) images."""
    drawn = (
        train.subset(min(2000, len(train)), seed=0),
        (test or train).subset(min(8, len(test or train)), seed=1),
    )
    images = [
        np.concatenate([batch["image"] for batch in source.examples(256)])
        for source in drawn
    ]
    encode = evaluation.encoder_function(model.encoder)
    features = [
        evaluation.extract(encode, source.examples(256))[0] for source in drawn
    ]
    return pictures.nearest_neighbours(
        features[0], images[0], features[1], images[1]
    )


def shown(config, model, source) -> dict:
    """What `minc_tf.report.finish_run` shows of a run's embeddings.

    The replicas share the images, so that every worker makes the call.

    Args:
        config: the run's settings.
        model: the trained `TwoViewModel`.
        source: `minc_tf.data.ImageSource`, images without crop.

    Returns:
        dict of arguments; empty where no report is wanted.
    """
    count = min(config.report.num_examples, len(source))
    if not count:
        return {}
    batches = source.subset(count, config.seed).examples(256)
    arrays = {
        name: evaluation.extract(evaluation.encoder_function(part), batches)
        for name, part in (("features", model.encoder), ("embeddings", model))
    }
    labels = arrays["features"][1]
    return {
        **{name: vectors for name, (vectors, _) in arrays.items()},
        "images": np.concatenate([batch["image"] for batch in batches]),
        "labels": labels if source.class_names else None,
        "class_names": source.class_names,
        "step": step_of(model),
        "seed": config.seed,
        "defaults": default_config().to_dict(),
    }


def _summary(model: models.TwoViewModel, rows, train) -> dict:
    """What a finished run has to say."""
    numbers = {k: float(v) for k, v in rows[-1].items() if v != ""}
    rates = [float(r["images_per_second"]) for r in rows]
    return {
        **numbers,
        "epoch": int(numbers["epoch"]),
        "step": int(numbers["step"]),
        "seconds": sum(float(row["seconds"]) for row in rows),
        "images_per_second": float(np.median(rates)),
        "encoder_parameters": model.encoder.count_params(),
        "images": len(train),
        "skipped_images": len(train.skipped),
        "skipped": [str(path) for path in train.skipped],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"{platform.system()}",
        "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {
            "commit": export.library_commit(),
            "minc_tf": metadata.version("minc_tf"),
            "python": platform.python_version(),
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }
