"""What measures a run while it trains, as its settings say."""

import dataclasses
import logging

import keras

from minc_tf import evaluation
from minc_tf.evaluation.checks import check_classes, check_labels
from minc_tf.models import RecomputeStatistics
from minc_tf.training.source_checks import check_neighbours

_LOGGER = logging.getLogger(__name__)

#: Images that batch normalisation, the collapse monitor and the alarm see.
_STATISTICS_IMAGES, _COLLAPSE_IMAGES, _ALARM_IMAGES = 1024, 512, 128
#: With fewer the alarm cannot tell a line from chance.
_FEWEST_IMAGES = 16
#: Of `DiagnosticsMonitor`.
_FEWEST_PAIRS = 3
#: Steps from look to look of the alarm.
_ALARM_EVERY = 20


@dataclasses.dataclass(frozen=True)
class Monitors:
    """What measures a run; None where it is off or there are too few images."""

    statistics: keras.callbacks.Callback
    collapse: keras.callbacks.Callback
    alarm: keras.callbacks.Callback | None
    diagnostics: keras.callbacks.Callback | None
    knn: keras.callbacks.Callback | None

    @classmethod
    def of(cls, config, images) -> "Monitors":
        """Those of a run; a ValueError where images or labels do not fit."""
        some = _some(images.reference, _STATISTICS_IMAGES, config.seed)
        return cls(
            RecomputeStatistics(images.examples(some)),
            _collapse_monitor(config, images),
            _collapse_alarm(config, images),
            _diagnostics_monitor(config, images),
            _knn_monitor(config, images),
        )

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Those that there are, in the order of the table's columns.

        `statistics` is first: the others, and the checkpoint, need its results.
        """
        found = (
            self.statistics,
            self.collapse,
            self.alarm,
            self.diagnostics,
            self.knn,
        )
        return [each for each in found if each is not None]


def _collapse_monitor(config, images):
    few = _some(images.reference, _COLLAPSE_IMAGES, config.seed)
    return evaluation.CollapseMonitor(images.examples(few))


def _collapse_alarm(config, images):
    if config.diagnostics.alarm == "off":
        return None
    few = _some(images.reference, _ALARM_IMAGES, config.seed)
    if len(few) < _FEWEST_IMAGES:
        return None
    (batch,) = images.examples(few)
    action = "warn" if config.diagnostics.alarm == "warn" else "raise"
    return evaluation.CollapseAlarm(
        batch["image"],
        every=_ALARM_EVERY,
        patience=200 // _ALARM_EVERY,
        action=action,
    )


def _diagnostics_monitor(config, images):
    section = config.diagnostics
    source = images.test or images.reference
    if not section.every or len(source) < _FEWEST_PAIRS:
        return None
    if images.test is None:
        _LOGGER.warning(
            "no images are held out (config.data.holdout): what is called held "
            "out in the diagnostics is of new views of training images"
        )
    size = config.batch_size
    # What it differentiates with is TensorFlow.
    on_jax = keras.backend.backend() == "jax"
    gradient_batches = 0 if on_jax else section.gradient_batches
    if not gradient_batches:
        size = min(size, section.num_examples, len(source))
    if size > len(source):
        raise ValueError(
            f"config.diagnostics.gradient_batches={section.gradient_batches} "
            f"needs batches of {size} images; {source.name}/{source.split} has "
            f"{len(source)}. Set it to 0."
        )
    count = max(-(-section.num_examples // size), gradient_batches)
    return evaluation.DiagnosticsMonitor(
        images.view_pairs(source, size, count),
        every=section.every,
        gradient_batches=gradient_batches,
    )


def _knn_monitor(config, images):
    section = config.monitor
    train, test = images.reference, images.test
    labelled = test is not None and train.class_names and test.class_names
    if not section.every or not labelled:
        return None
    check_neighbours(config, train)
    parts = [
        _some(source, section.num_examples, config.seed)
        for source in (train, test)
    ]
    for part in parts:
        name = f"the labels of {part.name}/{part.split}"
        check_labels(name, part.labels, len(part))
    check_classes(f"{train.name}/{train.split}", parts[0].labels)
    return evaluation.KNNMonitor(
        *map(images.examples, parts), every=section.every, k=section.k
    )


def _some(source, count, seed):
    """At most so many of the images."""
    return source.subset(min(count, len(source)), seed)
