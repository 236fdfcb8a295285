"""A run from its settings to its results: `run(config, workdir)`."""

import contextlib
import json
import logging
import os

import numpy as np
from ml_collections import ConfigDict

from minc_tf import report
from minc_tf.training import build, callbacks, ending, monitors, pictures
from minc_tf.training.checkpoints import Checkpoints
from minc_tf.training.log import LogLines, log_file
from minc_tf.training.loop import SaveCheckpoints
from minc_tf.training.loop import train as train_loop
from minc_tf.training.validation import validate
from minc_tf.training.workdir import Workdir
from minc_tf.training.workers import Termination, Workers

_LOGGER = logging.getLogger(__name__)


def run(
    config: ConfigDict,
    workdir: str | os.PathLike,
    *,
    overwrite: bool = False,
    verbose: int = 1,
) -> dict:
    """Pretrains an encoder as a recipe says.

    The folder gets the resolved settings, a checkpoint at the end of each
    epoch, `metrics.csv`, TensorBoard events and pictures, and at the end
    `model.keras` and `summary.json`. The same call on a folder whose run
    stopped goes on from its last checkpoint, to the bit as if it had not
    stopped; on one whose run ended it returns the summary.

    With `config.strategy` it trains on several devices or machines. Of the
    workers of a cluster each makes the same call, on one folder that all of
    them see.

    Args:
        config: the settings: `default_config()`, changed.
        workdir: path of the run's folder; nothing is written outside it.
        overwrite: bool, remove another run's files from the folder first.
        verbose: int, 0 for no progress bar.

    Returns:
        dict, the contents of `summary.json`: loss and metrics of the last
        epoch, `steps`, `seconds` of training, `images_per_second` (median
        over epochs), `collapse` (empty, or what is wrong with the
        embeddings), `skipped` images, versions.

    Raises:
        ValueError: for settings, data or a folder that do not fit.
        FileNotFoundError: if the data do not exist.
        FloatingPointError: if the loss stops being finite.
        OSError: if the folder cannot be written to.
        PreemptedError: after SIGTERM, once a checkpoint is written.
        WorkerLostError: if another worker ended.
        TimeoutError: if another worker did not join.

    Example:
    ```python
    import minc_tf

    config = minc_tf.training.default_config()
    config.epochs = 2
    config.data.num_examples = 512
    minc_tf.training.run(config, "runs/short")
    ```
    """
    validate(config)
    folder = Workdir(workdir)
    folder.check(config, overwrite)
    if folder.summary.exists() and not overwrite:
        _LOGGER.info("%s holds a finished run", folder.path)
        return json.loads(folder.summary.read_text())
    with Termination() as termination, contextlib.ExitStack() as stack:
        # First of all: it decides which devices TensorFlow sees.
        strategy = build.build_strategy(config)
        workers = Workers(strategy)
        termination.watch()  # the services of a cluster take SIGTERM over
        saved = Checkpoints(folder.checkpoints)
        with workers.watched(lambda: saved.latest):
            return _run(
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
    images, drawn = _check_views(train, views, config.seed)
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
        curves = callbacks.Curves(folder.events / "train", table)
        lines = LogLines(config.epochs, done // steps)
        watchers += [table, curves, lines] + [progress] * bool(verbose)
        watchers += [
            callbacks.Spectra(folder.spectrum, monitor, done // steps)
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
        ending.write_results(folder, model, table.rows, train, collapse.reason)
        if shown:
            report.finish_run(folder.path, **shown)
    workers.wait()
    return json.loads(folder.summary.read_text())


def load_run(workdir: str | os.PathLike) -> tuple:
    """Loads the model of a run, also of one that has not ended.

    Args:
        workdir: path of the run's folder.

    Returns:
        (model, config): the `TwoViewModel` with the weights of the last
        checkpoint, and the run's settings.

    Raises:
        FileNotFoundError: if there is no run or no checkpoint in the folder.

    Example:
    ```python
    import minc_tf

    model, config = minc_tf.training.load_run("runs/short")
    minc_tf.export.export_savedmodel(model, "savedmodels/short")
    ```
    """
    folder = Workdir(workdir)
    config = folder.read_config()
    checkpoints = Checkpoints(folder.checkpoints, config)
    if checkpoints.latest is None:
        raise FileNotFoundError(
            f"workdir {str(folder.path)!r} holds no checkpoint yet; the first "
            "is written at the end of the first epoch."
        )
    model = build.build_model(config)
    # Weights alone do not need the schedule's true length.
    model.compile(optimizer=build.build_optimizer(config, 1, model))
    checkpoints.restore(model)
    return model, config


def read_config(workdir: str | os.PathLike) -> ConfigDict:
    """Reads the settings of a run.

    Args:
        workdir: path of the run's folder.

    Returns:
        The resolved `ConfigDict`.

    Raises:
        FileNotFoundError: if there is no run in the folder.
    """
    return Workdir(workdir).read_config()


def _check_views(source, views, seed):
    """Draws the views of a few images; stops if they do not vary.

    Returns:
        (images, views): the images, and their views in the first epoch.

    Raises:
        ValueError: if the views of an image do not differ from each other, or
            from those of the next epoch.
    """
    count = min(8, len(source))
    images, first = pictures.draw_views(source, views, count, seed, epoch=0)
    _, later = pictures.draw_views(source, views, count, seed, epoch=1)
    pairs = (
        ("from each other", first[0], first[1]),
        ("between epochs", first[0], later[0]),
    )
    for what, one, other in pairs:
        same = np.all(one == other, axis=(1, 2, 3))
        # A plain image can look the same in every crop; not all of them do.
        if same.all():
            raise ValueError(
                f"config.views: the views of an image do not differ {what} in "
                f"{count} images; widen the augmentation."
            )
    return images, first
