"""A run from its settings to its results: `run(config, workdir)`."""

import json
import logging
import os

import keras
from ml_collections import ConfigDict

from minc_tf.training import parts
from minc_tf.training.checkpoints import Checkpoints
from minc_tf.training.validation import validate
from minc_tf.training.workdir import Workdir

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

    On Keras's JAX backend the images are those of an `.npz` file, the views
    are made on the device, and there are no diagnostics, pictures, events or
    report; what else the settings ask for is a ValueError.

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
    if keras.backend.backend() == "jax":
        from minc_tf.training import array_run as runs
    else:
        from minc_tf.training import pipeline_run as runs
    runs.train(config, folder, overwrite=overwrite, verbose=verbose)
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
    model = parts.build_model(config)
    # Weights alone do not need the schedule's true length.
    model.compile(optimizer=parts.build_optimizer(config, 1, model))
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
