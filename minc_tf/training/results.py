"""What a run leaves when it ends: its model and summary."""

import importlib
import json
import os
import platform
import time
from importlib import metadata

import keras
import numpy as np

from minc_tf._files import replacing
from minc_tf.commit import library_commit


def write_results(
    folder, model, rows, collapse, images, epochs, skipped=()
) -> None:
    """Write the model, then the summary, which says that the run ended.

    `images` counts those trained on, `epochs` those asked for; `collapse` is
    what is wrong with the embeddings, or empty.
    """
    with replacing(folder.model) as part:
        model.save(part)
    summary = {
        **_numbers(rows),
        "epochs": epochs,
        "encoder_parameters": model.encoder.count_params(),
        "images": images,
        "skipped_images": len(skipped),
        "skipped": [str(path) for path in skipped],
        **_circumstances(),
        "collapse": collapse,
    }
    with replacing(folder.summary) as part:
        part.write_text(json.dumps(summary, indent=2) + "\n")


def _numbers(rows):
    """The last epoch, and what the clock says of all of them."""
    numbers = {k: float(v) for k, v in rows[-1].items() if v != ""}
    rates = [float(r["images_per_second"]) for r in rows]
    return {
        **numbers,
        "epoch": int(numbers["epoch"]),
        "step": int(numbers["step"]),
        "seconds": sum(float(row["seconds"]) for row in rows),
        "images_per_second": float(np.median(rates)),
    }


def _circumstances():
    """The machine, the time, and the versions of what ran."""
    backend = keras.backend.backend()
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"{platform.system()}",
        "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {
            "commit": library_commit(),
            "minc_tf": metadata.version("minc_tf"),
            "python": platform.python_version(),
            "keras": keras.__version__,
            "backend": backend,
            backend: importlib.import_module(backend).__version__,
        },
    }
