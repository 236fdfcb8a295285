"""Which views of an image are compared with which."""

from keras import ops


def pair_views(outputs, targets, small=(), *, compares_outputs: bool) -> list:
    """Pairs of views of one batch.

    Args:
        outputs: tensor (2B, d), embeddings or predictions of the two views,
            first views first.
        targets: tensor (2B, d), what the other view is to predict.
        small: sequence of tensors (B, d), the same as `outputs` for further
            views.
        compares_outputs: bool. True: outputs are compared with each other.
            False: with the targets of the other of the two views, and those
            of further views with both.

    Returns:
        list of pairs of tensors (B, d).
    """
    output1, output2 = ops.split(outputs, 2, axis=0)
    if compares_outputs:
        pairs = [(output1, output2)]
        for view in small:
            pairs += [(output1, view), (output2, view)]
        return pairs
    target1, target2 = ops.split(targets, 2, axis=0)
    pairs = [(output1, target2), (output2, target1)]
    for view in small:
        pairs += [(view, target1), (view, target2)]
    return pairs


def mean_objective(objective, pairs, training: bool):
    """The mean of an objective over pairs of views.

    Args:
        objective: an `Objective`. One that is a sum over pairs of images gets
            all pairs in one call, so that its statistics are of all views;
            to another, two views of one image would then be different images.
        pairs: list of pairs of tensors (B, d).
        training: bool.

    Returns:
        Scalar float32 tensor.
    """
    if len(pairs) > 1 and objective.takes_sample_weight:
        first, second = zip(*pairs, strict=True)
        pairs = [(ops.concatenate(first), ops.concatenate(second))]
    losses = [objective(*pair, training=training) for pair in pairs]
    return sum(losses) / len(losses)
