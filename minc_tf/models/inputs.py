"""What a model is given: its parts, arguments of `fit`, batches, views."""

import dis
import inspect
import itertools
import operator
import types
import warnings

import keras
from keras import ops

from minc_tf._checks import check_int, check_number, shapes_fit
from minc_tf._pixels import PIXELS, check_array
from minc_tf.models.applications import warn_of_missing_preprocessing
from minc_tf.models.encoders import check_no_classifier
from minc_tf.objectives import Objective

_INFINITE = -1  # of tf.data, which is not imported here
_ENDLESS = itertools.count, itertools.cycle, itertools.repeat


def check_model(
    encoder,
    objective,
    predictor,
    target_momentum,
    micro_batches,
    views,
    value_range,
) -> None:
    """Checks the arguments of `TwoViewModel`; warns of an encoder's pixels."""
    if not isinstance(objective, Objective):
        raise TypeError(
            "TwoViewModel: objective must be a minc_tf.objectives "
            f"objective; received {type(objective).__name__}."
        )
    check_int("TwoViewModel: micro_batches", micro_batches, 1)
    if not (target_momentum is None or callable(target_momentum)):
        name = "TwoViewModel: target_momentum"
        also = ", a schedule, or None"
        check_number(name, target_momentum, 0, 1, also=also)
    if objective.needs_previous and not (
        predictor is None and target_momentum is None
    ):
        raise ValueError(
            "TwoViewModel: objective must not need the embeddings under the "
            "weights before, with a predictor or target network: the second "
            f"moment is not of one network there. {objective.name} does, with "
            "tracking='corrected'; use tracking='lead'."
        )
    check_no_classifier("TwoViewModel", encoder)
    if getattr(views, "value_range", PIXELS) != PIXELS:
        raise ValueError(
            "TwoViewModel: views must have the value_range (0, 255), which "
            f"the model gives them; received {views.value_range}. Pass it "
            "to the model instead."
        )
    if value_range is not None:
        warn_of_missing_preprocessing("TwoViewModel", encoder)


def arguments_of(model, method, args, kwargs) -> dict:
    """The arguments of a call of Keras's `method` by their names, checked.

    An epoch of what knows its length, as `view_batches` does, is as many steps.
    """
    arguments = inspect.signature(method).bind(*args, **kwargs).arguments
    # Within `fit` the options of `evaluate` that follow are Keras's own.
    arguments |= arguments.pop("kwargs", {})
    if method.__name__ == "fit":
        steps = getattr(arguments.get("x"), "steps_per_epoch", None)
        if arguments.get("steps_per_epoch") is None and steps:
            arguments["steps_per_epoch"] = steps
    caller = f"{type(model).__name__}.{method.__name__}"
    check_arguments(caller, model, arguments)
    return arguments


def check_arguments(caller: str, model, arguments: dict) -> None:
    """Refuses, before any work, what the model cannot train on.

    Warns of a generator of which it cannot be told whether it ends.
    """
    for name in ("sample_weight", "class_weight"):
        if arguments.get(name) is not None:
            raise ValueError(
                f"{caller}: {name} cannot be given; the model learns from "
                "images without labels, of which each counts the same."
            )
    parts = arguments.get("x"), arguments.get("y")
    check_data(caller, model, parts)
    steps = "steps_per_epoch" if caller.endswith("fit") else "steps"
    # In `fit`, Keras evaluates what it has been given with this.
    seen = "_use_cached_eval_dataset" in arguments
    if arguments.get(steps) is None and not seen:
        _check_end(caller, steps, parts[0])
    held_out = arguments.get("validation_data")
    if held_out is None:
        return
    caller += ", validation_data"
    parts = held_out if isinstance(held_out, tuple | list) else (held_out,)
    check_data(caller, model, parts)
    if arguments.get("validation_steps") is None:
        _check_end(caller, "validation_steps", parts[0])


def check_data(caller: str, model, parts) -> None:
    """Refuses labels and pixels of another range, where they can be seen."""
    specs = [getattr(part, "element_spec", part) for part in parts]
    leaves = keras.tree.flatten(specs)
    check_no_labels(caller, [p for p in leaves if hasattr(p, "shape")])
    for part in leaves:
        check_array(caller, part, model.value_range)


def check_no_labels(caller: str, parts) -> None:
    """Refuses parts that have fewer axes than the first, which are images."""
    shapes = [getattr(part, "shape", None) for part in parts]
    # Of some pipelines TensorFlow does not know the rank.
    known = [shape for shape in shapes if getattr(shape, "rank", 0) is not None]
    shapes = [tuple(shape) for shape in known if shape is not None]
    for shape in shapes[1:]:
        if len(shape) < len(shapes[0]):
            raise ValueError(
                f"{caller}: beside images {shapes[0]} there is another part "
                f"of shape {shape}; labels are not used, leave them out, as "
                "in dataset.map(lambda image, label: image)."
            )


def check_images(caller: str, images) -> None:
    """Refuses what cannot be a batch of images, where views are to be made."""
    if isinstance(images, dict):
        raise ValueError(
            f"{caller}: a batch must be images, a tensor (B, H, W, C); "
            f"received a dict of {', '.join(map(repr, images))}."
        )
    if getattr(getattr(images, "shape", ()), "rank", 0) is None:
        raise ValueError(
            f"{caller}: of a batch the shape (B, H, W, C) must be known; "
            "set it in the pipeline with tf.ensure_shape."
        )


def _check_end(caller, steps, data):
    cardinality = getattr(data, "cardinality", None)
    if callable(cardinality) and int(cardinality()) == _INFINITE:
        found = "the data set has no end"
    elif isinstance(data, keras.utils.PyDataset) and data.num_batches is None:
        found = "the PyDataset has no length"
    elif isinstance(data, types.GeneratorType):
        ends = _ends(data)
        if ends is None:
            warnings.warn(
                f"{caller}: whether a generator ends cannot be seen; without "
                f"an end the first epoch has none, and with one the next is "
                f"empty. Pass {steps} to say how many batches an epoch has.",
                stacklevel=5,
            )
        if ends is not False:
            return
        found = "the generator has no end"
    else:
        return
    raise ValueError(
        f"{caller}: {found}; pass {steps}, such as the number of images "
        "divided by the batch size."
    )


def _ends(generator):
    """Whether a generator ends, or None where that cannot be told."""
    opcodes = (each.opname for each in dis.get_instructions(generator.gi_code))
    if not any(name in ("RETURN_VALUE", "RETURN_CONST") for name in opcodes):
        return False
    # What an expression (... for x in ITERATOR) goes through.
    frame = generator.gi_frame
    source = None if frame is None else frame.f_locals.get(".0")
    try:
        if operator.length_hint(source, _INFINITE) != _INFINITE:
            return True
    except TypeError:
        return False  # of itertools.repeat without a number
    return False if isinstance(source, _ENDLESS) else None


def make_views(model, data, training=True):
    """The views of a batch of images, for a model that makes them.

    Of what is views already, only the range of the pixels is changed.
    `training=False` gives the whole images twice, resized.
    """
    data = keras.tree.map_structure(
        lambda part: None if part is None else model.as_pixels(part), data
    )
    if model.views is None:
        return data
    images = data
    if isinstance(data, (tuple, list)):
        images, *others = data
        if isinstance(images, (tuple, list)) or any(
            part is not None for part in others
        ):
            return data
    check_images(type(model).__name__, images)
    return model.views(images, training=training)


def unpack_views(model, data) -> tuple:
    """The views of a batch, two (B, H, W, C) or more, checked.

    Builds a model that is not built.
    """
    if isinstance(data, (tuple, list)):
        data = tuple(part for part in data if part is not None)
        if len(data) == 1 and isinstance(data[0], (tuple, list)):
            data = tuple(data[0])
    if not isinstance(data, tuple) or len(data) < 2:
        received = (
            f"{len(data)} parts"
            if isinstance(data, tuple)
            else type(data).__name__
        )
        raise ValueError(
            "TwoViewModel: a batch must be (view1, view2), two tensors of "
            "images, or these and more views of one smaller size; received "
            f"{received}."
        )
    check_no_labels(type(model).__name__, data)
    # With run_eagerly, train_on_batch hands over arrays.
    data = tuple(map(ops.convert_to_tensor, data))
    for view in data:
        check_images(type(model).__name__, view)
    view1, view2, *small = data
    if model.micro_batches > 1 and small:
        raise ValueError(
            f"TwoViewModel: micro_batches={model.micro_batches} works with "
            f"two views; received {len(data)}."
        )
    _check_alike("both views", view1, view2)
    for view in small:
        _check_fits(model.encoder, view)
        _check_alike("the views after the first two", small[0], view)
    if not model.built:
        model.build((None, *view1.shape[1:]))
    return data


def _check_alike(which, first, other):
    if not shapes_fit(first.shape, other.shape):
        raise ValueError(
            f"TwoViewModel: {which} must have the same shape; received "
            f"{tuple(first.shape)} and {tuple(other.shape)}."
        )


def _check_fits(encoder, view):
    if len(view.shape) != 4:
        raise ValueError(
            "TwoViewModel: a batch must be (view1, view2), or these and more "
            "views of one smaller size; received another part of shape "
            f"{tuple(view.shape)}."
        )
    taken = getattr(encoder, "input_shape", None)
    if isinstance(taken, tuple) and not shapes_fit(view.shape, taken):
        raise ValueError(
            f"TwoViewModel: the encoder takes images {taken[1:]}, and a view "
            f"is {tuple(view.shape)[1:]}; for views of several sizes build it "
            "for images (None, None, 3)."
        )
