"""A run on the JAX backend: images in memory, views made on the device."""

import contextlib
import logging

import jax
import numpy as np
from ml_collections import ConfigDict

from minc_tf import augment
from minc_tf.training import array_monitors, callbacks, parts
from minc_tf.training.array_checks import check_settings, not_made
from minc_tf.training.array_data import load_splits, stream
from minc_tf.training.array_loop import ArrayLoop
from minc_tf.training.array_monitors import SpreadMonitor
from minc_tf.training.checkpoints import Checkpoints
from minc_tf.training.devices import share_batches
from minc_tf.training.log import LogLines, log_file
from minc_tf.training.loop import SaveCheckpoints
from minc_tf.training.results import write_results
from minc_tf.training.source_checks import check_views_vary
from minc_tf.training.termination import Termination
from minc_tf.training.workdir import Workdir

_LOGGER = logging.getLogger(__name__)


def train(
    config: ConfigDict, folder: Workdir, *, overwrite: bool, verbose: int
) -> None:
    """Trains as `minc_tf.training.run` says, on JAX.

    Args:
        config: the run's settings, valid.
        folder: the run's folder, which may be this run's.
        overwrite: bool, remove another run's files first.
        verbose: int, 0 for no progress bar.
    """
    check_settings(config)
    with Termination() as termination, contextlib.ExitStack() as stack:
        stack.enter_context(share_batches(config))
        images, reference, test = load_splits(config)
        _check_views(config, images.images[:8])
        steps = len(images) // config.batch_size
        model = _build(config, steps)
        spread = SpreadMonitor(config, reference)
        monitors = [
            spread,
            *array_monitors.neighbour_monitor(config, reference, test),
        ]

        # Only now, so that settings that do not work leave no run behind.
        folder.claim(config, overwrite)
        stack.enter_context(log_file(folder.log))
        checkpoints = Checkpoints(
            folder.checkpoints, config, config.checkpoint.max_to_keep
        )
        done = checkpoints.restore(model)
        _announce(config, done)
        saver = SaveCheckpoints(
            checkpoints,
            config.checkpoint.every_steps,
            termination=termination,
        )
        loop = ArrayLoop(model, steps, config.epochs, done)
        table = callbacks.MetricsCSV(
            folder.metrics, done // steps, folder.timing
        )
        progress = callbacks.Progress(
            config.batch_size, config.epochs * steps, done
        )
        stack.enter_context(contextlib.closing(progress))
        watchers = [
            callbacks.StopOnNonFinite(checkpoints, lambda: loop.watched),
            callbacks.Throughput(config.batch_size),
            *monitors,
            table,
            LogLines(config.epochs, done // steps),
            *[progress] * bool(verbose),
        ]
        batches = stream(images.images, config.batch_size, config.seed, done)
        loop.run(batches, watchers, saver)
        # Also where the run had only its end left to do.
        spread.set_model(model)
        spread.measure()
        write_results(folder, model, table.rows, spread.reason, len(images))


def _build(config, steps):
    """The model of the run, ready to be trained."""
    model = parts.build_model(config)
    model.target_momentum = parts.target_momentum(config, steps)
    model.compile(
        optimizer=parts.build_optimizer(config, steps, model),
        jit_compile=True,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def _announce(config, done):
    missing = not_made(config)
    if missing:
        _LOGGER.info("not made on JAX: %s", ", ".join(missing))
    if done:
        _LOGGER.info("resuming at step %d", done)


def _check_views(config, images):
    """Draws the views of a few images twice; stops if they do not vary."""
    configs, size = parts.view_configs(config)
    layer = augment.TwoViews(configs, size, seed=config.seed)
    layer.build(images.shape)
    draw = jax.jit(lambda states: layer.stateless_call([], states, images))
    states = [variable.value for variable in layer.non_trainable_variables]
    first, states = draw(states)
    later, _ = draw(states)
    check_views_vary(*jax.tree.map(np.asarray, (first, later)))
