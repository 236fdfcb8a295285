"""The two views of each image, made where the model is trained."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from minc_tf import _pixels
from minc_tf._checks import check_int, check_size
from minc_tf._types import Shape, Tensor
from minc_tf.augment import _validate
from minc_tf.augment.device_views import (
    DRAWS,
    SHARED,
    crop_views,
    draw_parameters,
    make_views,
)
from minc_tf.augment.view_config import ViewConfig, as_configs
from minc_tf.objectives import replicas


@keras.saving.register_keras_serializable(package="minc_tf")
class TwoViews(keras.layers.Layer):
    """Makes two views of each image on the device that trains.

    Input is a batch of images of one size, uint8 or float with values of
    `value_range`, shape (B, H, W, 3); output is a tuple of two float32
    tensors of shape (B, height, width, 3), 0..255. The views have the
    distributions of `MultiView` with the same configurations, not its draws.
    The layer runs on TensorFlow and on JAX, eager or compiled, and needs
    neither keras-cv nor, on JAX, TensorFlow.

    Each call draws anew, for each image and view, from a generator whose state
    is saved with the model. Of replicas that train in step each draws for its
    part of the batch what one device would draw for it. The same state gives
    the same views, but not on another backend, and on TensorFlow not with and
    without `jit_compile`. With `training=False` both views are the whole image,
    resized, and nothing is drawn.

    Crops and blurs are products of matrices, so where a GPU multiplies in
    TensorFloat-32, as it does by default, pixels move by a fraction of a grey
    level.

    Args:
        configs: Two `ViewConfig` (or dicts of their fields), such as
            `minc_tf.augment.presets.byol(224)`; equal in `semantics`,
            `antialias` and `blur_kernel`.
        size: Integer or (height, width), the size of both views in pixels.
        seed: Integer or `None`, the start of the generator. Without it the
            generator is seeded by Python's `random`, and so by
            `keras.utils.set_random_seed`.
        value_range: (low, high), the range of the pixels of the input, such
            as (0, 1); the views are 0..255 in any case.
        **kwargs: `name`; `dtype` may only be `"float32"`.

    Raises:
        ValueError: If an argument is out of range, or an input is not a batch
            of images of one size, or an array contradicts `value_range`.

    Example:
    >>> configs = minc_tf.augment.presets.simclr(32, strength=0.5, blur=False)
    >>> views = minc_tf.augment.TwoViews(configs, size=32, seed=0)
    >>> view1, view2 = views(np.zeros([8, 40, 48, 3], np.uint8))
    >>> tuple(view1.shape)
    (8, 32, 32, 3)

    Reference: Chen et al. 2020, arXiv:2002.05709, section 2.
    """

    def __init__(
        self,
        configs: Sequence[ViewConfig | dict],
        size: int | tuple[int, int],
        *,
        seed: int | None = None,
        value_range: tuple[float, float] = _pixels.PIXELS,
        **kwargs: Any,
    ) -> None:
        """See the class."""
        dtype = _validate.float32(kwargs.pop("dtype", None))
        super().__init__(dtype=dtype, **kwargs)
        self.configs = as_configs(configs)
        if len(self.configs) != 2:
            raise ValueError(
                "configs must hold two `ViewConfig`; received "
                f"{len(self.configs)}; MultiView makes any number of views."
            )
        for field in SHARED:
            first, second = (getattr(c, field) for c in self.configs)
            if first != second:
                raise ValueError(
                    f"configs must have one `{field}`; received {first!r} and "
                    f"{second!r}; MultiView makes views that differ in it."
                )
        self.size = _one_size(size)
        self.value_range = _pixels.check_value_range("TwoViews", value_range)
        _check_kernel(self.configs, self.size)
        if seed is not None:
            seed = check_int("seed", seed, 0, 2**31 - 1)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def __call__(
        self, images: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Look at the pixels of an array, then call the layer."""
        _pixels.check_array("TwoViews", images, self.value_range)
        return super().__call__(images, *args, **kwargs)

    def build(self, input_shape: Shape) -> None:
        """Do nothing: the layer has no weights."""
        self.built = True

    def call(
        self, images: Tensor, training: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Make the views.

        Args:
            images: Tensor of shape (B, H, W, 3).
            training: `False` for the whole images, resized; anything else
                augments.

        Returns:
            Tuple of two float32 tensors of shape (B, height, width, 3).
        """
        _check_images(images)
        images = _pixels.as_pixels(images, self.value_range)
        if training is False:
            view = self._whole(images)
            return view, view
        parameters = draw_parameters(
            self._draw(ops.shape(images)[0]), self.configs, *images.shape[1:3]
        )
        return make_views(images, parameters, self.configs, self.size)

    def compute_output_spec(
        self, images: Tensor, training: bool = True
    ) -> tuple[keras.KerasTensor, ...]:
        """Return two symbolic tensors of the shape of the views."""
        _check_images(images)
        shape = (images.shape[0], *self.size, 3)
        return tuple(keras.KerasTensor(shape, "float32") for _ in range(2))

    def save_own_variables(self, store: Any) -> None:
        """Save the state of the generator, which Keras leaves out."""
        state = self.seed_generator.state
        store["random_state"] = ops.convert_to_numpy(state)

    def load_own_variables(self, store: Any) -> None:
        """Restore what `save_own_variables` saved."""
        self.seed_generator.state.assign(store["random_state"][()])

    def get_config(self) -> dict:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "configs": [dataclasses.asdict(c) for c in self.configs],
            "size": self.size,
            "seed": self.seed,
            "value_range": self.value_range,
        }

    def _draw(self, batch):
        """Uniform random numbers (batch, 2, DRAWS) of this replica's images."""
        count = replicas.count()
        numbers = keras.random.uniform(
            (count * batch, 2 * DRAWS),
            dtype="float32",
            seed=self.seed_generator,
        )
        if count > 1:
            numbers = ops.take(numbers, replicas.own_rows(batch), axis=0)
        return ops.reshape(numbers, (-1, 2, DRAWS))

    def _whole(self, images):
        box = np.array([0, 0, *images.shape[1:3]], np.float32)
        config = self.configs[0]
        return crop_views(
            images,
            ops.broadcast_to(box, (ops.shape(images)[0], 4)),
            None,
            self.size,
            count=1,
            antialias=config.antialias,
            bicubic=config.semantics != "torchvision",
        )


def _one_size(size):
    several = isinstance(size, (list, tuple)) and any(
        isinstance(s, (list, tuple)) for s in size
    )
    if several:
        raise ValueError(
            f"size must be that of both views; received {size!r}; MultiView "
            "makes views of several sizes."
        )
    return check_size("size", size)


def _check_kernel(configs, size):
    kernel = configs[0].blur_kernel
    blurs = any(c.blur_p for c in configs)
    mirrors = configs[0].semantics == "torchvision"
    if blurs and mirrors and min(size) <= kernel // 2:
        raise ValueError(
            f"blur_kernel={kernel} needs views of more than {kernel // 2} "
            f"pixels a side; received size={size}."
        )


def _check_images(images):
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[-1] != 3:
        raise ValueError(
            "images must have shape (batch, height, width, 3); received "
            f"{shape}."
        )
    if None in shape[1:]:
        raise ValueError(
            f"images must have one size, known beforehand; received {shape}; "
            "MultiView crops images of different sizes."
        )
