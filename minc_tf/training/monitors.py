"""What measures a run while it trains, as its settings say."""

import keras

from minc_tf import data, evaluation
from minc_tf.training.source_checks import check_neighbours

#: Images that the collapse monitor and the alarm embed.
_COLLAPSE_IMAGES, _ALARM_IMAGES = 512, 128
#: With fewer the alarm cannot tell a line from chance.
_FEWEST_IMAGES = 16
#: Of `DiagnosticsMonitor`.
_FEWEST_PAIRS = 3
#: Steps from look to look of the alarm.
_ALARM_EVERY = 20


def collapse_monitor(config, reference) -> evaluation.CollapseMonitor:
    """The monitor of collapse, which `summary.json` quotes.

    Args:
        config: the run's settings.
        reference: `minc_tf.data.ImageSource`, images without crop.
    """
    images = _some(reference, _COLLAPSE_IMAGES, config.seed)
    return evaluation.CollapseMonitor(data.eval_batches(images, 256))


def collapse_alarm(config, reference) -> list[keras.callbacks.Callback]:
    """The alarm, unless it is off or there are too few images for it.

    Args:
        config: the run's settings.
        reference: `minc_tf.data.ImageSource`, images without crop.
    """
    if config.diagnostics.alarm == "off":
        return []
    source = _some(reference, _ALARM_IMAGES, config.seed)
    if len(source) < _FEWEST_IMAGES:
        return []
    (batch,) = source.examples(len(source))
    action = "raise" if config.diagnostics.alarm == "stop" else "warn"
    return [
        evaluation.CollapseAlarm(
            batch["image"],
            every=_ALARM_EVERY,
            patience=200 // _ALARM_EVERY,
            action=action,
        )
    ]


def diagnostics_monitor(
    config, source, views
) -> list[keras.callbacks.Callback]:
    """The diagnostics of held-out pairs, unless off or too few.

    Args:
        config: the run's settings.
        source: `minc_tf.data.ImageSource` of images to draw views of, those
            of the test split where there is one.
        views: `minc_tf.augment.MultiView`.

    Raises:
        ValueError: if there are too few images for the batches asked for.
    """
    section = config.diagnostics
    if not section.every or len(source) < _FEWEST_PAIRS:
        return []
    size = config.batch_size
    if not section.gradient_batches:
        size = min(size, section.num_examples, len(source))
    if size > len(source):
        raise ValueError(
            f"config.diagnostics.gradient_batches={section.gradient_batches} "
            f"needs batches of {size} images; {source.name}/{source.split} has "
            f"{len(source)}. Set it to 0."
        )
    count = max(-(-section.num_examples // size), section.gradient_batches)
    pairs = data.view_batches(source, views, size, seed=config.seed + 1)
    return [
        evaluation.DiagnosticsMonitor(
            pairs.take(count),
            every=section.every,
            gradient_batches=section.gradient_batches,
        )
    ]


def knn_monitor(config, train, test) -> list[keras.callbacks.Callback]:
    """The kNN monitor, unless it is off or the images have no labels.

    Args:
        config: the run's settings.
        train: `minc_tf.data.ImageSource`, images without crop.
        test: the same of the test split, or None.

    Raises:
        ValueError: if there are fewer images than neighbours.
    """
    section = config.monitor
    labelled = test is not None and train.class_names and test.class_names
    if not section.every or not labelled:
        return []
    check_neighbours(config, train)
    parts = [
        data.eval_batches(_some(source, section.num_examples, config.seed), 256)
        for source in (train, test)
    ]
    return [evaluation.KNNMonitor(*parts, every=section.every, k=section.k)]


def _some(source, count, seed):
    """At most so many of the images."""
    return source.subset(min(count, len(source)), seed)
