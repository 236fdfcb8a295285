"""The weights that a run starts from: a run's, a Keras file's, an export's."""

import pathlib

import keras

from minc_tf._run_folder import RunFolder
from minc_tf.models import TwoViewModel
from minc_tf.models.stored_encoders import load_encoder, load_weights
from minc_tf.training.checkpoints import (
    Checkpoints,
    encoder_arrays,
    encoder_weights,
    finalize_layers,
)

_SETTING = "config.init.from"
_FORMS = (
    "the folder of a run, a .keras or .weights.h5 file, or a SavedModel that "
    "minc-export wrote"
)


def start_from(model: TwoViewModel, path: str) -> None:
    """Load an encoder's weights into a built model that was not trained yet.

    Heads stay; target networks and previous weights start from it, too.
    """
    place = pathlib.Path(path)
    if not place.exists():
        raise FileNotFoundError(f"{_SETTING}={path!r} does not exist.")
    if place.is_dir() and RunFolder(place).config.exists():
        _load_run(model, place)
    elif place.name.endswith(".weights.h5"):
        load_weights(model.encoder, place, _SETTING)
    elif place.suffix == ".keras":
        _load_keras_file(model, place)
    elif _is_export(place):
        _load_export(model, place)
    else:
        raise ValueError(f"{_SETTING} must be {_FORMS}; received {path!r}.")
    finalize_layers(model.encoder)
    model.start_targets()


def _is_export(place):
    """Whether a folder is a SavedModel, or has versions of one."""
    inside = place.glob("[1-9]*/saved_model.pb")
    return (place / "saved_model.pb").exists() or any(inside)


def _load_run(model, place):
    newest = Checkpoints(RunFolder(place).checkpoints).latest
    if newest is None:
        raise FileNotFoundError(
            f"{_SETTING}={str(place)!r} is a run without a checkpoint yet."
        )
    try:
        given = encoder_arrays(newest)
    except ValueError as error:
        raise ValueError(f"{_SETTING}={str(place)!r}: {error}") from error
    own = encoder_weights(model)
    names = [*own, *(name for name in given if name not in own)]
    found = [(name, given[name].shape) for name in names if name in given]
    _check(place, found, [(name, v.shape) for name, v in own.items()])
    for name, weight in own.items():
        weight.assign(given[name])


def _load_keras_file(model, place):
    source = load_encoder(str(place), _SETTING)
    values = [(w.name, keras.ops.convert_to_numpy(w)) for w in source.weights]
    _assign(place, values, model.encoder.weights)


def _load_export(model, place):
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"{_SETTING}={str(place)!r} is an export, which only TensorFlow "
            "reads; give the folder of its run, or a .keras file."
        )
    from minc_tf import export
    from minc_tf.export.reusable import prepared

    module = export.load_savedmodel(str(place)).trainable()
    # First come those of the encoder, then what its functions read besides.
    count = len(model.encoder.variables)
    given = list(module.variables)[:count]
    trained = len(module.trainable_variables)
    with prepared(model.encoder):
        own = len(model.encoder.trainable_variables)
    if len(given) < count or trained != own:
        raise ValueError(
            f"{_SETTING}={str(place)!r} has {trained} weights to train, the "
            f"encoder of this run {own}."
        )
    is_weight = {id(w) for w in model.encoder.weights}
    values = [
        (variable.name, value.numpy())
        for variable, value in zip(model.encoder.variables, given, strict=True)
        if id(variable) in is_weight
    ]
    _assign(place, values, model.encoder.weights)


def _assign(place, values, weights):
    """Assign named arrays to weights in the same order."""
    _check(
        place,
        [(name, value.shape) for name, value in values],
        [(weight.name, weight.shape) for weight in weights],
    )
    for weight, (_, value) in zip(weights, values, strict=True):
        weight.assign(value)


def _check(place, given, wanted):
    """Refuse weights of which a name or shape is not as it is wanted."""
    wanted = [(name, tuple(shape)) for name, shape in wanted]
    given = [(name, tuple(shape)) for name, shape in given]
    for number, (one, other) in enumerate(zip(given, wanted, strict=False)):
        if one != other:
            raise ValueError(
                f"{_SETTING}={str(place)!r} has another encoder: its weight "
                f"number {number} is {one[0]} {one[1]}, in this run "
                f"{other[0]} {other[1]}."
            )
    if len(given) != len(wanted):
        raise ValueError(
            f"{_SETTING}={str(place)!r} has another encoder: of "
            f"{len(given)} weights, in this run of {len(wanted)}."
        )
