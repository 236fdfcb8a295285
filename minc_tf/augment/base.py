"""The base class of the augmentation layers, and how their work is compiled."""

import functools
import random as python_random
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from minc_tf._checks import check_choice, check_int
from minc_tf._types import Images, Tensor
from minc_tf.augment import _validate, random
from minc_tf.augment._kcv import VectorizedBaseImageAugmentationLayer

SEED_KEY = "augmentation_seed"
IMAGE_KEY = "images"
_SPATIAL_KEYS = ("bounding_boxes", "keypoints", "segmentation_masks")
_MAX_SALT = 2**16 - 1


class AugmentationLayer(VectorizedBaseImageAugmentationLayer):
    """Base of the layers that augment each image of a batch on its own.

    Inputs are images, uint8 or float with values 0..255, of shape
    (B, H, W, 3) or (H, W, 3), or a dict with them under `"images"`. Outputs
    have the same structure, with images in float32 and 0..255 whatever the
    dtype policy; every other entry of a dict passes through as it is.

    Randomness is per image and stateless. If the dict holds
    `"augmentation_seed"`, int64 of shape (B, 2) (for a single image (2,)),
    the draw of an image is a function of its own pair, of the kind of layer
    and of `salt`: it does not depend on the batch around it, on the worker or
    on compilation. Otherwise the layer draws the pairs from a generator of
    its own: different at each call, reproducible in a serial program with
    `seed`, but not resumable, and not reproducible under a parallel `map`.

    A subclass sets `stream` (its number among the kinds of layers, so that
    two kinds never share draws; 1 to 99 are this library's, up to 65535 free),
    `draws` (random numbers per image), `moves_pixels` (whether bounding boxes
    and the like would have to move too), and implements `sample` and
    `augment_images`.

    Args:
        seed: Integer or `None`, the seed of the layer's own generator. Without
            it the generator is seeded by Python's `random`, and so by
            `keras.utils.set_random_seed`.
        salt: Integer in 0..65535. Layers of one kind that see the same
            `"augmentation_seed"` need different salts to be independent.
        jit_compile: Whether XLA compiles the pixel operations: `"auto"` where
            the layer runs in a graph (`tf.data` or `tf.function`), `True`
            also in eager mode, `False` never. Shapes that are not static are
            never compiled. Each new batch or image size compiles anew.
        **kwargs: `name`, `trainable`; `dtype` may only be `"float32"`.

    Raises:
        ValueError: If an argument is out of range, the inputs are not images,
            or the seeds are not one pair per image.

    Example:
    >>> class RandomNegative(minc_tf.augment.AugmentationLayer):
    ...     stream, draws = 100, 1
    ...
    ...     def sample(self, numbers, height, width):
    ...         return numbers[:, 0] < 0.5
    ...
    ...     def augment_images(self, images, transformations, **kwargs):
    ...         images = tf.cast(images, tf.float32)
    ...         chosen = transformations[:, None, None, None]
    ...         return tf.where(chosen, 255.0 - images, images)
    >>> RandomNegative()(np.zeros([8, 32, 32, 3], np.uint8)).shape
    TensorShape([8, 32, 32, 3])
    """

    stream: int
    draws: int
    moves_pixels = False

    def __init__(
        self,
        *,
        seed: int | None = None,
        salt: int = 0,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        dtype = _validate.float32(kwargs.pop("dtype", None))
        if seed is not None:
            seed = check_int("seed", seed, 0, 2**62)
        check_choice("jit_compile", jit_compile, ("auto", True, False))
        # keras-cv takes the global generator if it is given no seed, or 0.
        start = python_random.getrandbits(62) if seed is None else seed
        super().__init__(seed=start + 1, dtype=dtype, **kwargs)
        self.seed = seed
        self.salt = check_int("salt", salt, 0, _MAX_SALT)
        self.jit_compile = jit_compile

    @property
    def generator(self) -> tf.random.Generator:
        """The generator of the seeds of inputs that bring none."""
        return self._random_generator

    def sample(self, numbers: Tensor, height: int, width: int) -> Any:
        """Return the parameters of a batch, from uniform random numbers.

        Args:
            numbers: float32 tensor of shape (B, draws), uniform in [0, 1).
            height: Height of the images in pixels.
            width: Width of the images in pixels.

        Returns:
            A structure of tensors with leading dimension B.
        """
        raise NotImplementedError

    def augment_images(
        self, images: Tensor, transformations: Tensor, **kwargs: Any
    ) -> Tensor:
        """Return the augmented images, float32.

        Args:
            images: uint8 or float32 tensor of shape (B, H, W, 3).
            transformations: What `sample` returned.
            **kwargs: Not used; part of the keras-cv protocol.
        """
        raise NotImplementedError

    def deterministic_images(self, images: Tensor) -> Tensor:
        """Return what `training=False` makes of the images, float32.

        Args:
            images: uint8 or float32 tensor of shape (B, H, W, 3).
        """
        return tf.cast(images, tf.float32)

    def get_random_transformation_batch(
        self,
        batch_size: int,
        images: Tensor | None = None,
        seeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return random parameters for a batch.

        Args:
            batch_size: Number of images.
            images: Tensor of shape (B, H, W, 3), of which only the shape is
                used.
            seeds: int64 tensor of shape (B, 2); drawn if not given.
            **kwargs: Not used; part of the keras-cv protocol.
        """
        if seeds is None:
            seeds = draw_seeds(self.generator, batch_size)
        salt = (self.stream << 16) | self.salt
        numbers = self.run(random.uniform, seeds, count=self.draws, salt=salt)
        height, width = image_size(images)
        return self.sample(numbers, height, width)

    def __call__(self, inputs: Images, *args: Any, **kwargs: Any) -> Images:
        """Convert arrays to tensors, then call the layer."""
        return super().__call__(as_tensors(inputs), *args, **kwargs)

    def call(self, inputs: Images, training: bool = True) -> Images:
        """Augment images.

        Args:
            inputs: Images, or a dict with them under `"images"`.
            training: `False` for the deterministic output; anything else
                augments.

        Returns:
            What `inputs` is, augmented.
        """
        if not isinstance(inputs, dict):
            return self._augment(inputs, None, training)
        check_dict(inputs)
        if self.moves_pixels:
            for key in _SPATIAL_KEYS:
                if key in inputs:
                    raise ValueError(
                        f"{type(self).__name__} moves pixels and cannot move "
                        f"`{key}` with them: remove it from the inputs."
                    )
        images = self._augment(
            inputs[IMAGE_KEY], inputs.get(SEED_KEY), training
        )
        return {**inputs, IMAGE_KEY: images}

    def run(
        self, function: Callable, *tensors: Tensor, **static: Any
    ) -> Tensor:
        """Call a pure function of tensors, compiled by XLA where it pays.

        Args:
            function: Function of `tensors` and `static`.
            *tensors: Tensors.
            **static: Hashable Python values.
        """
        compile_it = self.jit_compile is True or (
            self.jit_compile == "auto" and not tf.executing_eagerly()
        )
        if compile_it and all(t.shape.is_fully_defined() for t in tensors):
            function = _compiled(function, tuple(sorted(static.items())))
            return function(*tensors)
        return function(*tensors, **static)

    def get_config(self) -> dict:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "seed": self.seed,
            "salt": self.salt,
            "jit_compile": self.jit_compile,
        }

    def _augment(self, images, seeds, training):
        images = as_images(images)
        single = images.shape.rank == 3
        if single:
            images = images[None]
        if training is False:
            images = self.deterministic_images(images)
        else:
            if seeds is not None:
                seeds = as_seeds(seeds, images, single)
            parameters = self.get_random_transformation_batch(
                batch_size(images), images=images, seeds=seeds
            )
            images = self.augment_images(images, parameters)
        return images[0] if single else images


def as_tensors(inputs):
    """Return inputs with their arrays and numbers as tensors.

    Keras refuses dicts in which some entries are tensors and others are not.
    """

    def convert(value):
        if tf.is_tensor(value) or isinstance(value, keras.KerasTensor):
            return value
        return tf.convert_to_tensor(value)

    if isinstance(inputs, dict):
        return keras.tree.map_structure(convert, inputs)
    return convert(inputs)


def batch_size(images: tf.Tensor):
    """Return the number of images, static where it is known."""
    return images.shape[0] or tf.shape(images)[0]


def image_size(images: tf.Tensor) -> tuple:
    """Return height and width of a batch, static where they are known."""
    dynamic = tf.shape(images)
    return tuple(images.shape[i] or dynamic[i] for i in (1, 2))


def draw_seeds(generator: tf.random.Generator, count) -> tf.Tensor:
    """Draw int64 seed pairs of shape (count, 2) from a generator."""
    return generator.uniform_full_int([count, 2], dtype=tf.int64)


def check_dict(inputs: dict) -> None:
    """Raise `ValueError` if a dict of inputs has no images."""
    if IMAGE_KEY not in inputs:
        raise ValueError(
            f"inputs must have the key '{IMAGE_KEY}'; received the keys "
            f"{sorted(inputs)}."
        )


def as_images(images) -> tf.Tensor:
    """Return images as a uint8 or float32 tensor, or raise `ValueError`."""
    images = tf.convert_to_tensor(images)
    if images.shape.rank not in (3, 4) or images.shape[-1] != 3:
        raise ValueError(
            "images must have shape (batch, height, width, 3) or (height, "
            f"width, 3); received {images.shape}."
        )
    return images if images.dtype == tf.uint8 else tf.cast(images, tf.float32)


def as_seeds(seeds, images: tf.Tensor, single: bool) -> tf.Tensor:
    """Return seeds, (2,) of a single image, as an int64 tensor (B, 2)."""
    seeds = tf.convert_to_tensor(seeds)
    expected = tf.TensorShape([2] if single else [images.shape[0], 2])
    fits = seeds.shape.is_compatible_with(expected)
    if not fits or not seeds.dtype.is_integer:
        raise ValueError(
            f"{SEED_KEY} must be int64 of shape {expected}, one pair per "
            f"image; received {seeds.dtype.name} of shape {seeds.shape}."
        )
    seeds = tf.cast(seeds, tf.int64)
    # With the batch size of the images, static if theirs is: XLA needs it.
    shape = [images.shape[0], 2]
    return tf.ensure_shape(seeds[None] if single else seeds, shape)


@functools.cache
def _compiled(function, static):
    # One cache for all layers: two layers with the same arguments and shapes
    # share a compiled program.
    return tf.function(
        functools.partial(function, **dict(static)),
        jit_compile=True,
        autograph=False,
    )
