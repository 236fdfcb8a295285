"""What a run shows when it ends: neighbours, and a map of its embeddings."""

import numpy as np

from minc_tf import evaluation
from minc_tf.training import pictures
from minc_tf.training.checkpoints import step_of
from minc_tf.training.config import default_config


def neighbours(model, images) -> np.ndarray:
    """A picture of the nearest training images of a few test images.

    Without a test split the few are training images, left out of the rest.
    """
    encode = evaluation.encoder_function(model.encoder)

    def embed(source, count, seed):
        batches = images.examples(source.subset(min(count, len(source)), seed))
        return evaluation.extract(encode, batches)[0], _pixels(batches)

    if images.test is not None:
        queries = embed(images.test, 8, 1)
        return pictures.nearest_neighbours(
            *embed(images.reference, 2000, 0), *queries
        )
    features, shown = embed(images.reference, 2008, 0)
    few = min(8, len(shown) // 2)
    return pictures.nearest_neighbours(
        features[few:], shown[few:], features[:few], shown[:few]
    )


def report_arguments(config, model, images) -> dict:
    """Arguments of `minc_tf.report.finish_run`; empty if no report is wanted.

    The devices share the images, so that every worker makes the call.
    """
    source = images.test or images.reference
    count = min(config.report.num_examples, len(source))
    if not count:
        return {}
    batches = images.examples(source.subset(count, config.seed))
    arrays = {
        name: evaluation.extract(evaluation.encoder_function(part), batches)
        for name, part in (("features", model.encoder), ("embeddings", model))
    }
    labels = arrays["features"][1]
    return {
        **{name: vectors for name, (vectors, _) in arrays.items()},
        "images": _pixels(batches),
        "labels": labels if source.class_names else None,
        "class_names": source.class_names,
        "step": step_of(model),
        "seed": config.seed,
        "defaults": default_config().to_dict(),
    }


def _pixels(batches):
    return np.concatenate([batch["image"] for batch in batches])
