"""A run from its settings to its results: `run(config, workdir)`."""

import contextlib
import json
import logging
import os
from collections.abc import Sequence

import keras
from ml_collections import ConfigDict

from minc_tf import report
from minc_tf.training import (
    ending,
    events,
    from_settings,
    pictures,
)
from minc_tf.training.callbacks import (
    MetricsCSV,
    Progress,
    Spectra,
    StopOnNonFinite,
    Throughput,
)
from minc_tf.training.checkpoints import Checkpoints
from minc_tf.training.held_out import with_held_out
from minc_tf.training.initial_weights import start_from
from minc_tf.training.log import LogLines, log_file
from minc_tf.training.loop import Loop, SaveCheckpoints
from minc_tf.training.monitors import Monitors
from minc_tf.training.own_callbacks import check_callbacks, watch_batches
from minc_tf.training.results import write_results
from minc_tf.training.source_checks import check_views_vary
from minc_tf.training.termination import Termination
from minc_tf.training.validation import validate
from minc_tf.training.workdir import Workdir

_LOGGER = logging.getLogger(__name__)


def run(
    config: ConfigDict,
    workdir: str | os.PathLike,
    *,
    overwrite: bool = False,
    verbose: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict:
    """Pretrain an encoder as a recipe says.

    The folder gets the resolved settings, a checkpoint at the end of each
    epoch, `metrics.csv`, TensorBoard events and pictures, and at the end
    `model.keras` and `summary.json`. The same call on a folder whose run
    stopped goes on from its last checkpoint, to the bit as if it had not
    stopped; on one whose run ended it returns the summary. With more
    `config.epochs`, and otherwise the same settings, a run that ended goes on
    from its last checkpoint; the schedules are then over all epochs, so that
    the learning rate rises again, which the log tells.

    With `config.strategy` it trains on several devices or machines. Of the
    workers of a cluster each makes the same call, on one folder that all of
    them see.

    On Keras's JAX backend the images are those of an `.npz` file, the views
    are made on the device, and there are no TensorBoard events; what else the
    settings ask for is a ValueError.

    Args:
        config: the settings: `default_config()`, changed.
        workdir: path of the run's folder; nothing is written outside it.
        overwrite: bool, remove another run's files from the folder first.
        verbose: int, 0 for no progress bar.
        callbacks: list of your own. They see the hooks of `fit`, with epochs
            counted over the whole run, where it resumes too; what they add to
            the `logs` of an epoch becomes a column of `metrics.csv`, and
            `model.stop_training = True` ends the run with the epoch. Of
            several processes only the one that writes has them, so that they
            may read the model but not train or change it there.

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
    callbacks = check_callbacks("run: callbacks", callbacks)
    validate(config)
    config = with_held_out(config)
    folder = Workdir(workdir)
    folder.check(config, overwrite)
    if folder.finished(config) and not overwrite:
        _LOGGER.info("%s holds a finished run", folder.path)
        return json.loads(folder.summary.read_text())
    _train(config, folder, overwrite, verbose, callbacks)
    return json.loads(folder.summary.read_text())


def load_run(workdir: str | os.PathLike) -> tuple:
    """Load the model of a run, also of one that has not ended.

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
    model = from_settings.build_model(config)
    # Weights alone do not need the schedule's true length.
    model.compile(optimizer=from_settings.build_optimizer(config, 1, model))
    checkpoints.restore(model)
    return model, config


def read_config(workdir: str | os.PathLike) -> ConfigDict:
    """Read the settings of a run.

    Args:
        workdir: path of the run's folder.

    Returns:
        The resolved `ConfigDict`.

    Raises:
        FileNotFoundError: if there is no run in the folder.
    """
    return Workdir(workdir).read_config()


def _train(config, folder, overwrite, verbose, callbacks):
    """From the settings to the results, on the backend that Keras uses."""
    find_devices, find_images = _on_backend()
    with Termination() as termination, contextlib.ExitStack() as stack:
        # First of all: it decides which devices TensorFlow sees.
        devices = find_devices(config)
        # The services of a cluster take SIGTERM over.
        termination.watch()
        saved = Checkpoints(folder.checkpoints)
        with devices.in_use(lambda: saved.latest):
            images = find_images(config, devices)
            fresh = overwrite or saved.latest is None
            run = _Run(config, folder, devices, images, fresh)
            # Only now, so that settings that do not work leave no run behind.
            devices.wait()
            if devices.chief:
                folder.claim(config, overwrite)
                stack.enter_context(log_file(folder.log))
            devices.wait()
            run.train(termination, verbose, callbacks)
            run.finish()


class _Run:
    """A run; what can fail is made here, the folder is written to later."""

    def __init__(self, config, folder, devices, images, fresh):
        self.config = config
        self.folder = folder
        self.devices = devices
        self.images = images
        self.skipped = _count_skipped(images.train)
        self.steps = len(images.train) // config.batch_size
        with devices.scope():
            self.model = from_settings.build_compiled_model(
                config, self.steps, devices.compiles
            )
            # What goes on has the weights of its checkpoint.
            if fresh and config.init["from"]:
                start_from(self.model, config.init["from"])
        self.monitors = Monitors.of(config, images)
        drawn, first, later = images.draw_views(min(8, len(images.train)))
        check_views_vary(first, later)
        self.views = pictures.view_pairs(drawn, first)
        # Looked up now: what draws a page may not be installed.
        self.finish_report = config.report.num_examples and report.finish_run
        images.check()

    def train(self, termination, verbose, own):
        """Train from the last checkpoint to the end of the last epoch."""
        config, folder, devices = self.config, self.folder, self.devices
        checkpoints = Checkpoints(
            folder.checkpoints, config, config.checkpoint.max_to_keep
        )
        done = checkpoints.restore(self.model)
        devices.check_same_step(done)
        left_out = devices.left_out(config)
        if left_out:
            _LOGGER.info("not made on JAX: %s", ", ".join(left_out))
        if not done and config.init["from"]:
            _LOGGER.info("the encoder starts from %s", config.init["from"])
        if done:
            _LOGGER.info("resuming at step %d", done)
            self._say_longer(checkpoints.settings(), done)
        own = own if devices.chief else []
        loop = Loop(
            devices, self.steps, config.epochs, done, watch_batches(own)
        )
        self.table = MetricsCSV(
            folder.metrics, done // self.steps, folder.timing
        )
        progress = Progress(config.batch_size, config.epochs * self.steps, done)
        watchers = [
            StopOnNonFinite(checkpoints, lambda: loop.watched),
            Throughput(config.batch_size),
            *self.monitors.callbacks(),
            *own,
        ]
        if devices.chief:
            self._show("views", self.views)
            watchers += self._records(done // self.steps)
            watchers += [progress] * bool(verbose)
        saver = SaveCheckpoints(
            checkpoints,
            config.checkpoint.every_steps,
            devices,
            termination,
        )
        with contextlib.closing(progress):
            loop.run(self.model, self.images.batches(done), watchers, saver)

    def _say_longer(self, before, done):
        """What the schedules do where a run goes on to more epochs."""
        config = self.config
        if before is None or before.epochs == config.epochs:
            return
        old, new = (
            float(from_settings.learning_rate(each, self.steps)(done))
            for each in (before, config)
        )
        part = new / from_settings.peak_rate(config)
        _LOGGER.info(
            "trained for longer, %d epochs instead of %d: the learning rate is "
            "a cosine over all of them, and goes from %.3g to %.3g here (%.0f "
            "%% of its peak)%s",
            config.epochs,
            before.epochs,
            old,
            new,
            100 * part,
            ", the target's momentum likewise"
            * callable(self.model.target_momentum),
        )

    def _records(self, first_epoch):
        """What writes down each epoch, after it was measured."""
        found = [self.table, LogLines(self.config.epochs, first_epoch)]
        if events.writes_events():
            folder = self.folder.events / "train"
            found.append(events.Curves(folder, self.table))
        if self.monitors.diagnostics is not None:
            path, monitor = self.folder.spectrum, self.monitors.diagnostics
            found.append(Spectra(path, monitor, first_epoch))
        return found

    def finish(self):
        """Write the results, also where only these were left to write."""
        images, model, folder = self.images, self.model, self.folder
        collapse = self.monitors.collapse
        collapse.set_model(model)
        collapse.measure()
        neighbours = ending.neighbours(model, images)
        shown = ending.report_arguments(self.config, model, images)
        _count_skipped(images.train, self.skipped)
        if self.devices.chief:
            self._show("neighbours", neighbours)
            write_results(
                folder,
                model,
                self.table.rows,
                collapse.reason,
                len(images.train),
                self.config.epochs,
                images.train.skipped,
            )
            if shown:
                self.finish_report(folder.path, **shown)
        self.devices.leave(folder.summary.exists)

    def _show(self, name, picture):
        pictures.write_png(self.folder.pictures, name, picture)
        events.write_picture(self.folder.events, name, picture)


def _on_backend():
    """Where a run trains, and what feeds it, on Keras's backend."""
    if keras.backend.backend() == "jax":
        from minc_tf.training.jax_devices import SharedDevices
        from minc_tf.training.jax_images import ArrayImages

        return SharedDevices.of, ArrayImages
    from minc_tf.training.tensorflow_devices import Replicas
    from minc_tf.training.tensorflow_images import PipelineImages

    return Replicas.of, PipelineImages


def _count_skipped(source, before=0):
    """The number of unreadable images, which large sets find as they train."""
    count = len(source.skipped)
    if count > before:
        _LOGGER.warning("%d unreadable images skipped", count)
    return count
