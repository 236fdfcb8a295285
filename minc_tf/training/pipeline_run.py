"""A run on the TensorFlow backend: data pipelines, replicas, workers."""

import contextlib
import logging

from ml_collections import ConfigDict

from minc_tf import report
from minc_tf.training import (
    build,
    callbacks,
    curves,
    ending,
    monitors,
    pictures,
)
from minc_tf.training.checkpoints import Checkpoints
from minc_tf.training.log import LogLines, log_file
from minc_tf.training.loop import SaveCheckpoints
from minc_tf.training.loop import train as train_loop
from minc_tf.training.results import write_results
from minc_tf.training.source_checks import check_views_vary
from minc_tf.training.termination import Termination
from minc_tf.training.workdir import Workdir
from minc_tf.training.workers import Workers

_LOGGER = logging.getLogger(__name__)


def train(
    config: ConfigDict, folder: Workdir, *, overwrite: bool, verbose: int
) -> None:
    """Trains as `minc_tf.training.run` says, on the strategy of the settings.

    Args:
        config: the run's settings, valid.
        folder: the run's folder, which may be this run's.
        overwrite: bool, remove another run's files first.
        verbose: int, 0 for no progress bar.
    """
    with Termination() as termination, contextlib.ExitStack() as stack:
        # First of all: it decides which devices TensorFlow sees.
        strategy = build.build_strategy(config)
        workers = Workers(strategy)
        termination.watch()  # the services of a cluster take SIGTERM over
        saved = Checkpoints(folder.checkpoints)
        with workers.watched(lambda: saved.latest):
            _run(
                config,
                folder,
                overwrite,
                verbose,
                strategy,
                workers,
                termination,
                stack,
            )


def _run(
    config, folder, overwrite, verbose, strategy, workers, termination, stack
):
    """The run, on the strategy and with the workers that it has."""
    views = build.build_views(config)
    train, reference, test = build.build_sources(config)
    skipped = len(train.skipped)
    if skipped:
        _LOGGER.warning("%d unreadable images skipped", skipped)
    steps = len(train) // config.batch_size
    count = strategy.num_replicas_in_sync
    with strategy.scope():
        model = build.build_model(config)
        model.target_momentum = build.target_momentum(config, steps)
        model.compile(
            optimizer=build.build_optimizer(config, steps, model),
            # A TPU compiles every step, and Keras must not do it again.
            jit_compile=config.jit_compile and count == 1,
        )
        model.optimizer.build(model.trainable_variables)
    collapse = monitors.collapse_monitor(config, reference)
    diagnosing = monitors.diagnostics_monitor(config, test or reference, views)
    measuring = [
        *monitors.collapse_alarm(config, reference),
        *diagnosing,
        *monitors.knn_monitor(config, reference, test),
    ]
    images, drawn = _draw_views(train, views, config.seed)
    if config.data.service:  # does it answer, and can it read the images?
        build.build_batches(config, strategy, train, views, 0)

    # Only now, so that settings that do not work leave no run behind.
    workers.wait()
    if workers.chief:
        folder.claim(config, overwrite)
        stack.enter_context(log_file(folder.log))
    workers.wait()
    checkpoints = Checkpoints(
        folder.checkpoints, config, config.checkpoint.max_to_keep
    )
    done = checkpoints.restore(model)
    workers.check_same_step(done)
    if done:
        _LOGGER.info("resuming at step %d", done)
    saver = SaveCheckpoints(
        checkpoints, config.checkpoint.every_steps, workers, termination
    )
    watchers = [
        callbacks.StopOnNonFinite(checkpoints),
        callbacks.Throughput(config.batch_size),
        collapse,
        *measuring,
    ]
    table = callbacks.MetricsCSV(folder.metrics, done // steps, folder.timing)
    progress = callbacks.Progress(
        config.batch_size, config.epochs * steps, done
    )
    if workers.chief:
        picture = pictures.view_pairs(images, drawn)
        pictures.write(folder.pictures, folder.events, "views", picture)
        events = curves.Curves(folder.events / "train", table)
        lines = LogLines(config.epochs, done // steps)
        watchers += [table, events, lines] + [progress] * bool(verbose)
        watchers += [
            curves.Spectra(folder.spectrum, monitor, done // steps)
            for monitor in diagnosing
        ]
    with contextlib.closing(progress):
        train_loop(
            model,
            build.build_batches(config, strategy, train, views, done),
            [*watchers, saver],
            first_step=done,
            steps_per_epoch=steps,
            epochs=config.epochs,
        )
    # Also where the run had only its end left to do.
    collapse.set_model(model)
    collapse.measure()
    neighbours = ending.neighbours(model, reference, test)
    shown = ending.shown(config, model, test or reference)
    if len(train.skipped) > skipped:  # large sets are read as they train
        _LOGGER.warning("%d unreadable images skipped", len(train.skipped))
    if workers.chief:
        pictures.write(folder.pictures, folder.events, "neighbours", neighbours)
        write_results(
            folder,
            model,
            table.rows,
            collapse.reason,
            len(train),
            train.skipped,
        )
        if shown:
            report.finish_run(folder.path, **shown)
    workers.wait()


def _draw_views(source, views, seed):
    """Draws the views of a few images, which must vary.

    Returns:
        (images, views): the images, and their views in the first epoch.

    Raises:
        ValueError: if the views of an image do not differ from each other, or
            from those of the next epoch.
    """
    count = min(8, len(source))
    images, first = pictures.draw_views(source, views, count, seed, epoch=0)
    _, later = pictures.draw_views(source, views, count, seed, epoch=1)
    check_views_vary(first, later)
    return images, first
