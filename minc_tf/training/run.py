"""A run from its settings to its results: `run(config, workdir)`."""

import contextlib
import json
import logging
import os
import pathlib
import subprocess
import time

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

import minc_tf
from minc_tf import data, evaluation, models
from minc_tf.training import build, callbacks, pictures
from minc_tf.training.checkpoints import Checkpoints
from minc_tf.training.config import validate
from minc_tf.training.loop import SaveCheckpoints
from minc_tf.training.loop import train as train_loop
from minc_tf.training.workdir import Workdir
from minc_tf.training.workers import Termination, Workers

_LOGGER = logging.getLogger(__name__)


def run(
    config: ConfigDict, workdir: str | os.PathLike, *, overwrite: bool = False
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
    with Termination() as termination:
        # First of all: it decides which devices TensorFlow sees.
        strategy = build.build_strategy(config)
        workers = Workers(strategy)
        termination.watch()  # the services of a cluster take SIGTERM over
        saved = Checkpoints(folder.checkpoints)
        with workers.watched(lambda: saved.latest):
            return _run(
                config, folder, overwrite, strategy, workers, termination
            )


def _run(config, folder, overwrite, strategy, workers, termination):
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
    collapse = evaluation.CollapseMonitor(
        data.eval_batches(
            reference.subset(min(512, len(reference)), config.seed), 256
        )
    )
    monitor = _monitor(config, reference, test)
    images, drawn = _check_views(train, views, config.seed)
    if config.data.service:  # does it answer, and can it read the images?
        build.build_batches(config, strategy, train, views, 0)

    # Only now, so that settings that do not work leave no run behind.
    workers.wait()
    if workers.chief:
        folder.claim(config, overwrite)
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
        *monitor,
    ]
    table = callbacks.MetricsCSV(folder.metrics, done // steps, folder.timing)
    progress = callbacks.Progress(
        config.batch_size, config.epochs * steps, done
    )
    if workers.chief:
        picture = pictures.view_pairs(images, drawn)
        pictures.write(folder.pictures, folder.events, "views", picture)
        curves = callbacks.Curves(folder.events / "train", table)
        watchers += [table, curves, progress]
    with contextlib.closing(progress):
        train_loop(
            model,
            build.build_batches(config, strategy, train, views, done),
            [*watchers, saver],
            first_step=done,
            steps_per_epoch=steps,
            epochs=config.epochs,
        )
    neighbours = _neighbours(model, reference, test)
    # Also where the run had only its end left to do.
    collapse.set_model(model)
    collapse.measure()
    if len(train.skipped) > skipped:  # large sets are read as they train
        _LOGGER.warning("%d unreadable images skipped", len(train.skipped))
    if workers.chief:
        pictures.write(folder.pictures, folder.events, "neighbours", neighbours)
        _finish(folder, model, table.rows, train, collapse.reason)
    workers.wait()
    return json.loads(folder.summary.read_text())


def _finish(folder, model, rows, train, collapse):
    """Writes the model, then the summary, which says that the run ended."""
    part = folder.model.with_suffix(".tmp.keras")
    model.save(part)
    os.replace(part, folder.model)
    summary = {**_summary(model, rows, train), "collapse": collapse}
    part = folder.summary.with_suffix(".tmp")
    part.write_text(json.dumps(summary, indent=2) + "\n")
    os.replace(part, folder.summary)


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
    images, first = build.draw_views(source, views, count, seed, epoch=0)
    _, later = build.draw_views(source, views, count, seed, epoch=1)
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


def _monitor(config, train, test):
    """The kNN monitor, unless it is off or the images have no labels."""
    section = config.monitor
    labelled = test is not None and train.class_names and test.class_names
    if not section.every or not labelled:
        return []
    neighbours = min(section.num_examples, len(train))
    if section.k > neighbours:
        raise ValueError(
            f"config.monitor.k={section.k} is more than the {neighbours} "
            "images that the monitor uses; see config.monitor.num_examples."
        )
    parts = [
        data.eval_batches(
            source.subset(min(section.num_examples, len(source)), config.seed),
            256,
        )
        for source in (train, test)
    ]
    return [
        evaluation.KNNMonitor(*parts, every=section.every, k=section.k),
    ]


def _neighbours(model, train, test):
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
        "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": {
            "commit": _commit(),
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }


def _commit() -> str | None:
    """The commit of the checkout that runs, or None for an installed one."""
    root = pathlib.Path(minc_tf.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None
