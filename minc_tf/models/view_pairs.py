"""Batches of views: how they lie, and which view is compared with which."""

from typing import NamedTuple

from keras import ops

from minc_tf.models.backend import shares


class Embedded(NamedTuple):
    """A batch of views after the forward pass, all that its loss is made of.

    `outputs` and `targets` (2B, d) lie as `join_views` has it, `small` (B, d)
    are of further views; `previous` is (outputs, small) of the weights before.
    """

    outputs: object
    targets: object
    small: tuple | list = ()
    previous: tuple | None = None
    layer_losses: object = 0.0


def join_views(views):
    """Views of one size (B, ...) as one batch (v B, ...), one after the other.

    Where devices share a batch, so it is within the share of each: none moves.
    """
    count = shares()
    if count == 1:
        return ops.concatenate(views)
    views = [ops.reshape(v, (count, -1, *v.shape[1:])) for v in views]
    joined = ops.concatenate(views, axis=1)
    return ops.reshape(joined, (-1, *joined.shape[2:]))


def split_views(batch, count=2) -> list:
    """The inverse of `join_views`, also of what was made of its rows."""
    if shares() == 1:
        return ops.split(batch, count, axis=0)
    rows = ops.reshape(batch, (shares(), count, -1, *batch.shape[1:]))
    shape = (-1, *batch.shape[1:])
    return [ops.reshape(rows[:, i], shape) for i in range(count)]


def not_divided(count: int, replicas: int = 1) -> str:
    """What is said of a batch that does not divide, but for its size."""
    where = f" on {replicas} devices" if replicas > 1 else ""
    return (
        f"TwoViewModel: micro_batches={count}{where} does not divide the "
        f"batch; use a multiple of {count * replicas}, and "
        "drop_remainder=True. Received a batch of"
    )


def pair_views(outputs, targets, small=(), *, compares_outputs: bool) -> list:
    """Pairs of tensors (B, d) of one batch; see `Embedded` for its parts.

    Outputs are compared with each other; else with the targets of the other of
    the two views, and those of further views with both.
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
    """The mean of an objective over pairs (B, d), `previous` the same earlier.

    Sums over pairs of images get all pairs in one call, so that statistics are
    of all views. To another, two views of one image would be different images.
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
