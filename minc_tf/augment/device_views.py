"""Views of a batch from given random numbers: pure functions of any backend.

All views of all images are made by one chain of operations, whose parameters
are numbers of their own for each view of each image. What shapes the chain
itself must be the same for all views: `SHARED` fields of their `ViewConfig`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minc_tf.augment import color_ops, sampling
from minc_tf.augment.arrays import namespace, per_image, select
from minc_tf.augment.matrix_ops import blur_weights, crop_weights, resample
from minc_tf.augment.view_config import ViewConfig

#: Fields that the views of an image must have in common.
SHARED = ("semantics", "antialias", "blur_kernel")

#: Random numbers of a view: crop, jitter, sigma, and five choices.
DRAWS = sampling.CROP_DRAWS + 8 + 1 + 5

_BOXES = {
    "torchvision": sampling.crop_boxes,
    "tf": sampling.distorted_boxes,
    "tf_byol": sampling.clipped_boxes,
}


class ViewParameters(NamedTuple):
    """What is done to the views of a batch: N rows, one for each view.

    `boxes` (N, 4) are top, left, height, width, and like `sigma` in pixels;
    for `factors`, `order` and `turn` see `sampling.jitter`.
    """

    boxes: Any
    flip: Any
    factors: Any
    order: Any
    turn: Any
    jitter: Any
    grey: Any
    sigma: Any
    blur: Any
    threshold: Any
    solarize: Any


def draw_parameters(
    numbers, configs: Sequence[ViewConfig], height: int, width: int
) -> ViewParameters:
    """The parameters of the views of a batch, from numbers (B, V, DRAWS).

    The numbers are uniform in [0, 1). The B V rows are the views of the first
    image, then those of the second, and so on.
    """

    def field(name):
        values = [getattr(config, name) for config in configs]
        return np.array(values, np.float32)

    def limits(name):
        return tuple(field(name).T[..., None])

    xp = namespace(numbers)
    semantics = configs[0].semantics
    crop, jitter = sampling.CROP_DRAWS, sampling.CROP_DRAWS + 8
    boxes = _BOXES[semantics](
        numbers[..., :crop],
        height,
        width,
        limits("area"),
        limits("aspect"),
        dtype="float32",
    )
    changes = ("brightness", "contrast", "saturation", "hue")
    factors, order, turn = sampling.jitter(
        numbers[..., crop:jitter], *map(field, changes), semantics
    )
    smallest, largest = field("blur_sigma").T
    sigma = sampling.scale(numbers[..., jitter], smallest, largest)
    chances = ("flip", "jitter_p", "grey_p", "blur_p", "solarize_p")
    flip, jittered, grey, blur, solarize = (
        numbers[..., jitter + 1 + i] < field(name)
        for i, name in enumerate(chances)
    )
    threshold = xp.zeros_like(sigma) + field("solarize_threshold")
    parameters = ViewParameters(
        boxes,
        flip,
        factors,
        order,
        turn,
        jittered,
        grey,
        sigma,
        blur,
        threshold,
        solarize,
    )
    return ViewParameters(
        *(xp.reshape(x, (-1, *x.shape[2:])) for x in parameters)
    )


def make_views(
    images,
    parameters: ViewParameters,
    configs: Sequence[ViewConfig],
    size: tuple[int, int],
) -> tuple:
    """Make V views, float32 (B, *size, 3) of values 0..255, of each image.

    The configs are equal in their `SHARED` fields. An operation of probability
    0 is left out.
    """
    xp = namespace(images)
    config, count = configs[0], len(configs)
    views = crop_views(
        images,
        parameters.boxes,
        parameters.flip,
        size,
        count=count,
        antialias=config.antialias,
        bicubic=config.semantics != "torchvision",
    )
    if any(c.jitter_p for c in configs):
        views = _jitter(views, parameters, config.semantics)
    if any(c.grey_p for c in configs):
        views = color_ops.random_grayscale(views, parameters.grey)
    if any(c.blur_p for c in configs):
        blurred = blur_views(
            views,
            parameters.sigma,
            config.blur_kernel,
            mirror=config.semantics == "torchvision",
        )
        views = select(views, blurred, parameters.blur)
    if any(c.solarize_p for c in configs):
        threshold = per_image(parameters.threshold)
        views = color_ops.solarize(views, parameters.solarize, threshold)
    # The products of matrices round, in TensorFloat-32 by a tenth of a level.
    views = xp.clip(views, 0.0, 255.0)
    views = xp.reshape(views, (-1, count, *size, 3))
    return tuple(views[:, view] for view in range(count))


def crop_views(
    images,
    boxes,
    flip,
    size: tuple[int, int],
    *,
    count: int = 2,
    antialias: bool = False,
    bicubic: bool = False,
):
    """Cut `count` boxes from each image, resize them, and mirror some.

    Boxes and flip are as in `ViewParameters`, one row for each view; the
    filters as in `crop_weights`, with the cubic clipped to 0..255.
    """
    xp = namespace(images)
    filters = {"antialias": antialias, "bicubic": bicubic}
    top, left, height, width = xp.unstack(boxes, axis=1)
    rows = crop_weights(top, height, size[0], images.shape[1], **filters)
    columns = crop_weights(
        left, width, size[1], images.shape[2], mirror=flip, **filters
    )
    views = resample(
        xp.cast(images, "float32")[:, None],
        xp.reshape(rows, (-1, count, *rows.shape[1:])),
        xp.reshape(columns, (-1, count, *columns.shape[1:])),
    )
    views = xp.reshape(views, (-1, *views.shape[2:]))
    return xp.clip(views, 0.0, 255.0) if bicubic else views


def blur_views(views, sigma, kernel_size: int, mirror: bool = True):
    """Blur each view (N, H, W, C) with its own sigma; see `blur_weights`."""
    height, width = views.shape[1:3]
    rows = blur_weights(sigma, kernel_size, height, mirror)
    columns = rows
    if width != height:
        columns = blur_weights(sigma, kernel_size, width, mirror)
    return resample(views, rows, columns)


def _jitter(views, parameters, semantics):
    factors, order = parameters.factors, parameters.order
    turn, apply = parameters.turn, parameters.jitter
    if semantics == "torchvision":
        jittered = color_ops.jitter_in_order(views, factors, order)
        return color_ops.select_hue(views, jittered, turn, apply)
    for index in range(4):
        views = color_ops.jitter_stage(
            views,
            *color_ops.stage(factors, order, turn, apply, index),
            additive=semantics == "tf_byol",
        )
    return views
