"""Batches of views: how they lie, and which view is compared with which."""

from typing import NamedTuple

from keras import ops

from minc_tf.models.backend import shares


class Embedded(NamedTuple):
    """A batch of views after the forward pass, all that its loss is made of.

    `outputs` and `targets` (2B, d) are of the first two views in the order of
    `join_views`; `small` are the outputs (B, d) of each further view;
    `previous` is None, or outputs and further ones under the weights of the
    step before; `layer_losses` a scalar, the regularisers of the layers.
    """

    outputs: object
    targets: object
    small: tuple | list = ()
    previous: tuple | None = None
    layer_losses: object = 0.0


def join_views(views):
    """Views of one size as one batch, one view after the other.

    Where devices share a batch, it is so within the share of each: no image
    has to move to another device.

    Args:
        views: sequence of v tensors (B, ...).

    Returns:
        Tensor (v B, ...).
    """
    count = shares()
    if count == 1:
        return ops.concatenate(views)
    views = [ops.reshape(v, (count, -1, *v.shape[1:])) for v in views]
    joined = ops.concatenate(views, axis=1)
    return ops.reshape(joined, (-1, *joined.shape[2:]))


def split_views(batch, count=2) -> list:
    """The inverse of `join_views`, also of what was made of its rows.

    Args:
        batch: tensor (v B, ...).
        count: int, v.

    Returns:
        list of v tensors (B, ...).
    """
    if shares() == 1:
        return ops.split(batch, count, axis=0)
    rows = ops.reshape(batch, (shares(), count, -1, *batch.shape[1:]))
    shape = (-1, *batch.shape[1:])
    return [ops.reshape(rows[:, i], shape) for i in range(count)]


def not_divided(count: int, replicas: int = 1) -> str:
    """What is said of a batch that does not divide, but for its size.

    Args:
        count: int, `micro_batches`.
        replicas: int, devices that take a share of each part.
    """
    where = f" on {replicas} devices" if replicas > 1 else ""
    return (
        f"TwoViewModel: micro_batches={count}{where} does not divide the "
        f"batch; use a multiple of {count * replicas}, and "
        "drop_remainder=True. Received a batch of"
    )


def pair_views(outputs, targets, small=(), *, compares_outputs: bool) -> list:
    """Pairs of views of one batch.

    Args:
        outputs: tensor (2B, d), embeddings or predictions of the two views,
            in the order of `join_views`.
        targets: tensor (2B, d), what the other view is to predict.
        small: sequence of tensors (B, d), the same as `outputs` for further
            views.
        compares_outputs: bool. True: outputs are compared with each other.
            False: with the targets of the other of the two views, and those
            of further views with both.

    Returns:
        list of pairs of tensors (B, d).
    """
    output1, output2 = split_views(outputs)
    if compares_outputs:
        pairs = [(output1, output2)]
        for view in small:
            pairs += [(output1, view), (output2, view)]
        return pairs
    target1, target2 = split_views(targets)
    pairs = [(output1, target2), (output2, target1)]
    for view in small:
        pairs += [(view, target1), (view, target2)]
    return pairs


def mean_objective(objective, pairs, training: bool, previous=None):
    """The mean of an objective over pairs of views.

    Args:
        objective: an `Objective`. One that is a sum over pairs of images gets
            all pairs in one call, so that its statistics are of all views;
            to another, two views of one image would then be different images.
        pairs: list of pairs of tensors (B, d).
        training: bool.
        previous: None, or the same pairs under the weights of the step before.

    Returns:
        Scalar float32 tensor.
    """
    more = {}
    if objective.takes_images:
        more["pairs_per_image"] = len(pairs)
    if previous is not None:
        more["previous"] = _by_image(previous)
    if len(pairs) > 1 and objective.takes_sample_weight:
        pairs = [_by_image(pairs)]
    losses = [objective(*pair, training=training, **more) for pair in pairs]
    return sum(losses) / len(losses)


def _by_image(pairs):
    """Pairs of tensors (B, d) as one of (B n, d): an image's pairs in a row."""
    dim = pairs[0][0].shape[-1]
    return tuple(
        ops.reshape(ops.stack(views, axis=1), (-1, dim))
        for views in zip(*pairs, strict=True)
    )
