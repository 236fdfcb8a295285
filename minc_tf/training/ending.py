"""What a run shows when it ends: neighbours, and a map of its embeddings.

TensorFlow only.
"""

import numpy as np

from minc_tf import evaluation
from minc_tf.training import pictures
from minc_tf.training.checkpoints import step_of
from minc_tf.training.config import default_config


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
