"""What a run checks of its batches and images, whatever they come from.

A source here has a length, and the attributes `name`, `split` and
`image_shape` of `minc_tf.data.ImageSource`.
"""

import numpy as np
from ml_collections import ConfigDict


def check_batch_size(config: ConfigDict, source) -> None:
    """Check that a source fills a batch."""
    if config.batch_size > len(source):
        raise ValueError(
            f"config.batch_size={config.batch_size} is larger than the data "
            f"set: {len(source)} images in {source.name}/{source.split}."
        )


def check_shares(config: ConfigDict, count: int) -> None:
    """Check that so many replicas can share a batch, and its micro-batches."""
    unit = count * config.micro_batches
    if config.batch_size % unit:
        nearest = unit * max(1, round(config.batch_size / unit))
        parts = f" in {config.micro_batches} micro-batches each"
        raise ValueError(
            f"config.batch_size={config.batch_size} cannot be shared by "
            f"{count} replicas{parts * (config.micro_batches > 1)}; the "
            f"nearest that can is {nearest}."
        )


def check_view_size(config: ConfigDict, source) -> None:
    """Check that images can be embedded as they are, as large as a view."""
    size = config.views.size
    if source.image_shape[:2] != (size, size):
        raise ValueError(
            f"config.views.size={size} differs from the images of "
            f"{source.name}/{source.split}, {source.image_shape[:2]}; set "
            f"config.views.size={source.image_shape[0]}, or "
            "config.data.image_size where the images can be resized."
        )


def check_neighbours(config: ConfigDict, source) -> None:
    """Check that the kNN monitor has as many images as neighbours."""
    section = config.monitor
    neighbours = min(section.num_examples, len(source))
    if section.k > neighbours:
        raise ValueError(
            f"config.monitor.k={section.k} is more than the {neighbours} "
            "images that the monitor uses; see config.monitor.num_examples."
        )


def check_views_vary(first, later) -> None:
    """Check that views, lists of (N, H, W, 3), differ, between epochs too."""
    pairs = (
        ("from each other", first[0], first[1]),
        ("between epochs", first[0], later[0]),
    )
    for what, one, other in pairs:
        same = np.all(one == other, axis=(1, 2, 3))
        # A plain image can look the same in every crop; not all of them do.
        if same.all():
            raise ValueError(
                f"config.views: the views of an image do not differ {what} in "
                f"{len(same)} images; widen the augmentation."
            )
