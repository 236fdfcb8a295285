"""Several independent views of each image."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from minc_tf import _pixels
from minc_tf._checks import check_size, is_int
from minc_tf._types import Images, Shape, Tensor
from minc_tf.augment.base import (
    IMAGE_KEY,
    SEED_KEY,
    as_images,
    as_seeds,
    as_tensors,
    batch_size,
    check_dict,
    draw_seeds,
)
from minc_tf.augment.layers import view_layers
from minc_tf.augment.view_config import ViewConfig, as_configs


@keras.saving.register_keras_serializable(package="minc_tf")
class MultiView(keras.layers.Layer):
    """Makes several independent views of each image, one per configuration.

    Input is images, uint8 or float with values of `value_range`, of shape
    (B, H, W, 3) or (H, W, 3), or a dict with them under `"images"`; output is
    a tuple of float32 tensors of shape (B, height, width, 3), 0..255. A dict
    may hold `"augmentation_seed"`, int64 of shape (B, 2): then the views of an
    image are a function of its own pair, and otherwise they are drawn from the
    layer's own generator (see `AugmentationLayer`). Other entries are ignored.

    To get different views at each epoch the pair must hold the epoch, for
    example (run seed, epoch * images + index). With `training=False` every
    view is the whole image, resized.

    In `tf.data`, map it over batches with `drop_remainder=True`: XLA compiles
    it once for each batch size. Images of different sizes, such as decoded
    JPEGs, make no batch before they are cropped: map `crop` over them one by
    one, batch, and map `finish` over the batches.

    Args:
        configs: Sequence of `ViewConfig` (or dicts of their fields), such as
            `minc_tf.augment.presets.byol(224)`.
        size: Integer or (height, width), the size of the views in pixels; or
            a list of them, one per configuration. A list of two integers is
            (height, width): write [(224, 224), (96, 96)] for two sizes.
        seed: Integer or `None`, the seed of the layer's own generator.
        jit_compile: `"auto"`, `True` or `False`; see `AugmentationLayer`.
        value_range: (low, high), the range of the pixels of the input, such
            as (0, 1); the views are 0..255 in any case.
        **kwargs: `name`; `dtype` may only be `"float32"`.

    Raises:
        ValueError: If an argument is out of range, or an input is not an
            image; so for images that contradict `value_range`, which inside a
            graph is a `tf.errors.InvalidArgumentError`.

    Example:
    >>> configs = minc_tf.augment.presets.simclr(32, strength=0.5, blur=False)
    >>> views = minc_tf.augment.MultiView(configs, size=32)
    >>> images = np.zeros([8, 32, 32, 3], np.uint8)
    >>> seeds = [(42, index) for index in range(8)]
    >>> view1, view2 = views({"images": images, "augmentation_seed": seeds})
    >>> view1.shape
    TensorShape([8, 32, 32, 3])

    Reference: Chen et al. 2020, arXiv:2002.05709, section 2.
    """

    def __init__(
        self,
        configs: Sequence[ViewConfig | dict],
        size: int | tuple[int, int] | Sequence[int | tuple[int, int]],
        *,
        seed: int | None = None,
        jit_compile: bool | str = "auto",
        value_range: tuple[float, float] = _pixels.PIXELS,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype=kwargs.pop("dtype", None) or "float32", **kwargs)
        configs = as_configs(configs)
        self.configs = configs
        self.sizes = _sizes(size, len(configs))
        self.size = self.sizes if len(set(self.sizes)) > 1 else self.sizes[0]
        self.seed = seed
        self.value_range = _pixels.check_value_range("MultiView", value_range)
        self.jit_compile = jit_compile
        self.view_layers = [
            view_layers(s, c, seed=seed, salt=index, jit_compile=jit_compile)
            for index, (s, c) in enumerate(
                zip(self.sizes, configs, strict=True)
            )
        ]
        # Inputs stay as they are: uint8 images, int64 seeds.
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True

    def __call__(
        self, inputs: Images, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, ...]:
        """Convert arrays to tensors, then call the layer."""
        return super().__call__(as_tensors(inputs), *args, **kwargs)

    def build(self, input_shape: Shape | None = None) -> None:
        """Do nothing: no layer of this one has weights."""
        self.built = True

    def call(self, inputs: Images, training: bool = True) -> tuple[Tensor, ...]:
        """Make the views.

        Args:
            inputs: Images, or a dict with them under `"images"`.
            training: `False` for the whole image, resized; anything else
                augments.

        Returns:
            Tuple of float32 tensors, one per configuration.
        """
        seeds = None
        if isinstance(inputs, dict):
            check_dict(inputs)
            inputs, seeds = inputs[IMAGE_KEY], inputs.get(SEED_KEY)
        images = as_images(inputs)
        single = images.shape.rank == 3
        if single:
            images = images[None]
        images = self._to_pixels(images)
        if seeds is None:
            generator = self.view_layers[0][0].generator
            seeds = draw_seeds(generator, batch_size(images))
        else:
            seeds = as_seeds(seeds, images, single)
        views = []
        for layers in self.view_layers:
            view = {IMAGE_KEY: images, SEED_KEY: seeds}
            for layer in layers:
                view = layer(view, training=training)
            views.append(view[IMAGE_KEY])
        return tuple(v[0] if single else v for v in views)

    def _to_pixels(self, images):
        """Images as 0..255, after a look at their range; bytes as they are."""
        if images.dtype == tf.uint8:
            return images
        low, high = self.value_range
        message = (
            f"MultiView: the pixels contradict value_range=({low:g}, "
            f"{high:g}); of images with values 0 to 1 pass (0, 1)."
        )
        fits = _fits(images, low, high)
        if tf.executing_eagerly():
            if not fits:
                raise ValueError(message)
        else:
            with tf.control_dependencies(
                [tf.debugging.Assert(fits, [message])]
            ):
                images = tf.identity(images)
        if (low, high) == _pixels.PIXELS:
            return images
        return (images - low) * (255.0 / (high - low))

    def crop(self, image: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Cut the views out of one image of any size, and do nothing else.

        The boxes are those that the layer would draw for this image and seed
        in a batch; the rest of the views is left to `finish`. Between the two
        pixels are rounded to integers, as Pillow rounds them.

        Args:
            image: uint8 tensor of shape (H, W, 3).
            seed: int64 tensor of shape (2,), the `"augmentation_seed"`.

        Returns:
            Tuple of uint8 tensors of shape (height, width, 3), one per
            configuration.

        Example:
        >>> configs = minc_tf.augment.presets.byol(32)
        >>> views = minc_tf.augment.MultiView(configs, size=32)
        >>> images = [np.zeros([9 * i, 40, 3], np.uint8) for i in (1, 2)]
        >>> seeds = tf.constant([[42, 0], [42, 1]], tf.int64)
        >>> crops = [views.crop(*pair) for pair in zip(images, seeds)]
        >>> batch = tuple(tf.stack(c) for c in zip(*crops))
        >>> view1, view2 = views.finish(batch, seeds)
        >>> view1.shape
        TensorShape([2, 32, 32, 3])
        """
        image = as_images(image)
        if image.shape.rank != 3 or image.dtype != tf.uint8:
            raise ValueError(
                "image must be uint8 of shape (height, width, 3); received "
                f"{image.dtype.name} of shape {image.shape}."
            )
        seeds = as_seeds(seed, image[None], single=True)
        return tuple(
            layers[0].crop(image, seeds) for layers in self.view_layers
        )

    def finish(
        self, crops: Sequence[tf.Tensor], seeds: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Make views of batches of crops: all operations but the first.

        Args:
            crops: One tensor per configuration, uint8 of shape (B, height,
                width, 3): what `crop` made of each image, in batches.
            seeds: int64 tensor of shape (B, 2), the seeds `crop` was given.

        Returns:
            Tuple of float32 tensors of the shapes of `crops`.
        """
        if len(crops) != len(self.configs):
            raise ValueError(
                f"crops must hold {len(self.configs)} batches, one per "
                f"configuration; received {len(crops)}."
            )
        views = []
        for crop, size, layers in zip(
            crops, self.sizes, self.view_layers, strict=True
        ):
            crop = tf.convert_to_tensor(crop)
            if not crop.shape.is_compatible_with([None, *size, 3]):
                raise ValueError(
                    f"crops must have shape (batch, {size[0]}, {size[1]}, "
                    f"3); received {crop.shape}."
                )
            crop = tf.ensure_shape(as_images(crop), [None, *size, 3])
            seed = as_seeds(seeds, crop, single=False)
            view = {IMAGE_KEY: tf.cast(crop, tf.float32), SEED_KEY: seed}
            for layer in layers[1:]:
                view = layer(view)
            views.append(view[IMAGE_KEY])
        return tuple(views)

    def get_config(self) -> dict:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "configs": [dataclasses.asdict(c) for c in self.configs],
            "size": self.size,
            "seed": self.seed,
            "jit_compile": self.jit_compile,
            "value_range": self.value_range,
        }


def _fits(images, low, high):
    """`_pixels.look` in TensorFlow's own operations, for any backend."""
    slack = _pixels.SLACK * (high - low)
    lowest, highest = tf.reduce_min(images), tf.reduce_max(images)
    fits = ~((lowest < low - slack) | (highest > high + slack))
    if high > 2.0:
        fractions = tf.reduce_any(images != tf.floor(images))
        fits &= ~((lowest >= 0.0) & (highest <= 1.0) & fractions)
    return fits


def _sizes(size, count):
    """Return one (height, width) per view."""
    per_view = isinstance(size, (list, tuple)) and (
        len(size) != 2 or not all(is_int(s) for s in size)
    )
    if not per_view:
        return [check_size("size", size)] * count
    if len(size) != count:
        raise ValueError(
            f"size must be one size, or one for each of the {count} "
            f"configurations; received {size!r}."
        )
    return [check_size("size", s) for s in size]
