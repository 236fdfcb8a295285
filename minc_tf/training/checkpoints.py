"""The checkpoints of a run: whole, named by their step, the newest few."""

import errno
import io
import json
import os
import pathlib
import re
import zipfile

import keras
import numpy as np
from ml_collections import ConfigDict

from minc_tf._checks import check_int
from minc_tf._files import replacing
from minc_tf.training.config import to_json
from minc_tf.training.identity import changed_settings

_NAME = re.compile(r"step-(\d+)\.npz")
_SETTINGS, _MEANS = "settings", "means"

#: Of a `TwoViewModel`, those with state.
_PARTS = (
    "encoder",
    "projector",
    "predictor",
    "objective",
    "target_encoder",
    "target_projector",
    "views",
)

#: What Keras appends to the name of a second layer of a class.
_NUMBER, _NUMBER_INSIDE = re.compile(r"_\d+$"), re.compile(r"_\d+(?=_)")
#: All names of checkpoints from before variables had names of their own.
_NUMBERED = re.compile(r"(model|optimizer)/\d{4,}")


class Checkpoints:
    """A folder of checkpoints, each everything that a run needs to go on.

    A checkpoint is one file: weights, statistics, second moment, target
    network, optimizer, random generators, the running means of the epoch, and
    the step, which is also the position in the data. It is written beside the
    others and renamed once it is on the disk, so a crash or a full disk while
    writing leaves the previous one as the newest. Damage is found by the
    checksums of the file.

    Args:
        folder: path of the folder; created by the first `save`.
        config: the run's settings, kept in each file and compared when it is
            read; None leaves that out.
        max_to_keep: int, at least 1: older files are removed.

    Raises:
        ValueError: for `max_to_keep` below 1.

    Example:
    ```python
    import minc_tf

    checkpoints = minc_tf.training.Checkpoints("run/checkpoints")
    print(checkpoints.latest)  # None, or run/checkpoints/step-00000390.npz
    ```
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        config: ConfigDict | None = None,
        max_to_keep: int = 2,
    ) -> None:
        check_int("Checkpoints: max_to_keep", max_to_keep, 1)
        self.folder = pathlib.Path(folder)
        self.config = config
        self.max_to_keep = max_to_keep

    @property
    def paths(self) -> list[pathlib.Path]:
        """The files, oldest first."""
        found = [p for p in self.folder.glob("*") if _NAME.fullmatch(p.name)]
        return sorted(found, key=_step_in)

    @property
    def latest(self) -> pathlib.Path | None:
        """The newest file, or None."""
        return self.paths[-1] if self.paths else None

    def path_of(self, step: int) -> pathlib.Path:
        """The file of a step, whether it is there or not."""
        return self.folder / f"step-{step:08d}.npz"

    def save(self, model: keras.Model, write: bool = True) -> None:
        """Write a checkpoint and remove those that are too old.

        Args:
            model: a built and compiled `TwoViewModel`.
            write: bool; false only takes part in reading the state, which all
                workers of a cluster do together, and one of them writes.

        Raises:
            FloatingPointError: if a weight is not finite.
            OSError: if it cannot be written; those before stay.
        """
        state = _read(model)
        stays = f"; the last good one is {self.latest}" * bool(self.latest)
        for name, variable in _variables(model).items():
            if not np.all(np.isfinite(state[name])):
                raise FloatingPointError(
                    f"no checkpoint of step {step_of(model)}: {variable.path} "
                    f"is not finite{stays}"
                )
        if not write:
            return
        path = self.path_of(step_of(model))
        if self.config is not None:
            state[_SETTINGS] = np.array(to_json(self.config))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, state)
            for old in self.paths[: -self.max_to_keep]:
                old.unlink()
        except OSError as error:
            raise OSError(
                error.errno or errno.EIO,
                f"cannot write checkpoint {path} ({error.strerror or error})"
                f"{stays}",
            ) from error

    def settings(self) -> ConfigDict | None:
        """The settings in the newest file, a whole one; None without any."""
        if self.latest is None:
            return None
        with np.load(self.latest) as file:
            if _SETTINGS not in file.files:
                return None
            return ConfigDict(json.loads(str(file[_SETTINGS])))

    def restore(self, model: keras.Model) -> int:
        """Load the newest checkpoint, if there is one.

        Args:
            model: a built and compiled model of the same settings.

        Returns:
            The number of steps taken, the position in the data; 0 without a
            checkpoint. It may be of a run of fewer epochs.

        Raises:
            ValueError: if the file is damaged, or of another run or model.
        """
        paths = self.paths
        if not paths:
            return 0
        try:
            state = _load(paths[-1])
            saved = state.pop(_SETTINGS, None)
            if self.config is not None and saved is not None:
                settings = ConfigDict(json.loads(str(saved)))
                changed = changed_settings(settings, self.config, longer=True)
                if changed:
                    raise ValueError(f"it is of other settings: {changed}")
            _assign(model, state)
        except ValueError as error:
            advice = "start anew"
            if len(paths) > 1:
                advice = f"go on from {paths[-2].name}"
            raise ValueError(
                f"{paths[-1]} is not a checkpoint of this run ({error}); "
                f"remove it to {advice}."
            ) from error
        return step_of(model)


def step_of(model: keras.Model) -> int:
    """The number of training steps that a `TwoViewModel` has taken."""
    return int(keras.ops.convert_to_numpy(model.steps))


def _variables(model):
    """All state by name, `part/layer/variable`, the same for the same model."""
    if not model.optimizer.built:  # twice would make some variables twice
        model.optimizer.build(model.trainable_variables)
    parts = {
        id(variable): part
        for part in _PARTS
        if getattr(model, part, None) is not None
        for variable in getattr(model, part).variables
    }
    parts |= {id(v): "optimizer" for v in model.optimizer.variables}
    # A target's weights have the names of those that they follow.
    named_as = {
        id(kept): weight
        for target in model.targets
        for kept, weight in target.pairs()
    }
    variables = (*model.variables, *model.optimizer.variables)
    return _named(variables, parts, named_as)


def _named(variables, parts, named_as):
    """Variables by name; `named_as` has those whose names others take."""
    found = {}
    for variable in variables:
        part = parts.get(id(variable), "model")
        path = _path(part, named_as.get(id(variable), variable))
        name, count = f"{part}/{path}", 1
        while name in found:
            count += 1
            name = f"{part}/{path}:{count}"
        found[name] = variable
    return found


def encoder_weights(model: keras.Model) -> dict:
    """The weights of a model's encoder, by their names in checkpoints."""
    variables = model.encoder.variables
    named = _named(variables, {id(v): _PARTS[0] for v in variables}, {})
    wanted = {id(weight) for weight in model.encoder.weights}
    return {name: v for name, v in named.items() if id(v) in wanted}


def encoder_arrays(path: pathlib.Path) -> dict:
    """The encoder's arrays in a checkpoint, without random generators."""
    state = _load(path)
    part = f"{_PARTS[0]}/"
    found = {n: value for n, value in state.items() if n.startswith(part)}
    if not found:
        raise ValueError(
            f"{path.name} is of before weights had names; give the run's "
            "model.keras."
        )
    return {n: v for n, v in found.items() if "seed_generator" not in n}


def finalize_layers(model: keras.Layer) -> None:
    """Let layers take over what they keep beside their weights.

    `Normalization` computes with copies, made when it is adapted or loaded.
    """
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def _path(part, variable):
    """The end of a variable's path, without Keras's numbers of this process."""
    layer, _, name = variable.path.rpartition("/")
    if part == "model":
        return _NUMBER.sub("", name)
    if part == "optimizer":  # its names have those of layers inside
        name = _NUMBER_INSIDE.sub("", name)
    return f"{_NUMBER.sub('', layer.rpartition('/')[2])}/{name}"


def _renamed(state, names):
    """The state of an old checkpoint: `model/0000`, ... in the same order."""
    if not all(_NUMBERED.fullmatch(name) for name in state):
        return state
    if len(state) != len(names):
        return state
    return dict(
        zip(names, (state[name] for name in sorted(state)), strict=True)
    )


def _read(model):
    # NumPy has no bfloat16 that survives a file.
    state = {
        name: keras.ops.convert_to_numpy(
            keras.ops.cast(variable, "float32")
            if variable.dtype == "bfloat16"
            else variable
        )
        for name, variable in _variables(model).items()
    }
    return state | {_MEANS: _read_means(model)}


def _read_means(model):
    """The sums and counts of the running means, of each replica (n, k)."""
    if keras.backend.backend() == "tensorflow":
        from minc_tf.training import replica_means

        return replica_means.read(model)
    values = map(keras.ops.convert_to_numpy, model.metrics_variables)
    return np.stack(list(values))[np.newaxis]


def _assign_means(model, values):
    if keras.backend.backend() == "tensorflow":
        from minc_tf.training import replica_means

        replica_means.assign(model, values)
        return
    # Of replicas each has counted every step.
    for variable, value in zip(
        model.metrics_variables, values.mean(0), strict=True
    ):
        variable.assign(value)


def _write(path, state):
    """Write arrays in one atomic step."""
    # In memory first: plain writes report a full disk, libraries crash on it.
    buffer = io.BytesIO()
    np.savez(buffer, **state)
    with replacing(path) as part, open(part, "wb") as file:
        file.write(buffer.getbuffer())


def _load(path):
    try:
        with np.load(path) as file:
            return dict(file)
    except (
        OSError,
        EOFError,
        KeyError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"it is damaged: {reason}") from error


def _assign(model, state):
    variables, state = _variables(model), dict(state)
    if _MEANS not in state:
        raise ValueError("it lacks the running means")
    means = state.pop(_MEANS)
    state = _renamed(state, variables)
    if variables.keys() != state.keys():
        first = sorted(variables.keys() ^ state.keys())[0]
        where = "the model has no" if first in state else "it lacks"
        raise ValueError(
            f"it holds {len(state)} variables and the model "
            f"{len(variables)}; {where} {first}"
        )
    for name, variable in variables.items():
        if tuple(variable.shape) != state[name].shape:
            raise ValueError(
                f"{variable.path} has the shape {state[name].shape}, in the "
                f"model {tuple(variable.shape)}"
            )
    # Only now, so that a model is never half of one and half of another.
    for name, variable in variables.items():
        variable.assign(state[name])
    finalize_layers(model)
    _assign_means(model, means)
    model.spread_random_states()


def _step_in(path):
    return int(_NAME.fullmatch(path.name).group(1))
