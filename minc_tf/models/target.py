"""The target network: a copy that follows the online one."""

from keras import ops


def copy_of(layer):
    """A layer of the same configuration, with weights of its own."""
    return type(layer).from_config(layer.get_config())


def start(copies, sources) -> None:
    """Starts built copies as what they are of; no optimizer touches them.

    Args:
        copies: sequence of layers.
        sources: the layers that they are copies of.
    """
    for copy, source in zip(copies, sources, strict=True):
        copy.set_weights(source.get_weights())
        # A layer with trainable=False would run BN in inference mode, so
        # the flag is taken from its variables instead.
        for variable in copy.trainable_variables:
            variable.trainable = False


def follow(copies, sources, momentum) -> None:
    """Moves copies: `target <- m target + (1 - m) online`.

    Args:
        copies: as in `start`.
        sources: as in `start`.
        momentum: scalar in [0, 1], m.
    """
    for copy, source in zip(copies, sources, strict=True):
        for target, online in zip(copy.weights, source.weights, strict=True):
            # Frozen layers of the source stay what they were copied as.
            if not online.trainable:
                continue
            kept = ops.cast(momentum, target.dtype)
            old, new = ops.convert_to_tensor(target), online.value
            target.assign(kept * old + (1.0 - kept) * ops.cast(new, old.dtype))
