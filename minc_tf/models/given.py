"""What `fit` is given: two views and no labels, of a known length."""

import inspect

import keras

from minc_tf._pixels import check_array

_INFINITE = -1  # of tf.data, which is not imported here


def bind(method, args, kwargs) -> dict:
    """The arguments of a call by their names, as far as they are given."""
    return inspect.signature(method).bind(*args, **kwargs).arguments


def check_arguments(caller: str, model, arguments: dict) -> None:
    """Refuses, before any work, what the model cannot train on.

    Args:
        caller: string, the method, for messages.
        model: a `TwoViewModel`.
        arguments: dict, those of the method by name.

    Raises:
        ValueError: for labels, weights of samples or classes, a data set
            without an end and no number of steps, or images that contradict
            `value_range`.
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
    if arguments.get(steps) is None:
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
    """Refuses labels and pixels of another range, where they can be seen.

    Args:
        caller: string, for messages.
        model: a `TwoViewModel`.
        parts: what is given: arrays, tuples of them, a `tf.data.Dataset`.

    Raises:
        ValueError: see `check_arguments`.
    """
    specs = [getattr(part, "element_spec", part) for part in parts]
    leaves = keras.tree.flatten(specs)
    check_no_labels(caller, [p for p in leaves if hasattr(p, "shape")])
    for part in leaves:
        check_array(caller, part, model.value_range)


def check_no_labels(caller: str, parts) -> None:
    """Refuses parts of a batch that have fewer axes than the images.

    Args:
        caller: string, for messages.
        parts: tensors, arrays or their specs; the first is of images.

    Raises:
        ValueError: that speaks of labels.
    """
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
    """Refuses what cannot be a batch of images, where views are to be made.

    Args:
        caller: string, for messages.
        images: a tensor, or what was given instead.

    Raises:
        ValueError: for a dict, say, or a tensor of which nothing is known.
    """
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
    else:
        return
    raise ValueError(
        f"{caller}: {found}; pass {steps}, such as the number of images "
        "divided by the batch size."
    )
