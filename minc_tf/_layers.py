"""What a projector's last layer says of its outputs."""

from keras import layers


def is_centred(projector) -> bool:
    """Whether no direction of the outputs can be the same for all images.

    So it is after batch normalisation without an offset: over the images of
    training each output has the mean zero.
    """
    last = (getattr(projector, "layers", None) or [projector])[-1]
    return isinstance(last, layers.BatchNormalization) and not last.center
