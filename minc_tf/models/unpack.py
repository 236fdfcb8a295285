"""The views of a batch, however `fit` was given them."""

import keras
from keras import ops

from minc_tf.models.given import check_images, check_no_labels


def make_views(model, data, training=True):
    """The views of a batch of images, for a model that makes them.

    Args:
        model: a `TwoViewModel`.
        data: what a step is given: images (B, H, W, C), also inside a tuple,
            or views.
        training: bool; false gives the whole images twice, resized.

    Returns:
        `(view1, view2)`; views, and anything for a model without `views`, as
        they are, but for the range of their pixels.
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
    """The views of a batch, checked; builds a model that is not built.

    Args:
        model: a `TwoViewModel`.
        data: `(view1, view2)`, images (B, H, W, C), or these and more views
            of one smaller size; also inside another tuple.

    Returns:
        Tuple of two or more tensors.

    Raises:
        ValueError: for anything else.
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
        _check_alike("the views behind the first two", small[0], view)
    if not model.built:
        model.build((None, *view1.shape[1:]))
    return data


def _check_alike(which, first, other):
    if not _compatible(first.shape, other.shape):
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
    if isinstance(taken, tuple) and not _compatible(view.shape, taken):
        raise ValueError(
            f"TwoViewModel: the encoder takes images {taken[1:]}, and a view "
            f"is {tuple(view.shape)[1:]}; for views of several sizes build it "
            "for images (None, None, 3)."
        )


def _compatible(shape, other):
    """Whether two shapes are equal where both are known."""
    return len(shape) == len(other) and all(
        a == b or a is None or b is None
        for a, b in zip(shape, other, strict=True)
    )
