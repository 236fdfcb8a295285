"""Layers that move pixels: random resized crop and flip."""

from typing import Any

import keras
import tensorflow as tf

from minc_tf._checks import check_size
from minc_tf._types import Tensor
from minc_tf.augment import _validate, ops, sampling
from minc_tf.augment.base import AugmentationLayer, batch_size, image_size


@keras.saving.register_keras_serializable(package="minc_tf")
class RandomResizedCrop(AugmentationLayer):
    """Cuts a random box from each image and resizes it.

    Sampling and interpolation depend on `semantics`:

    - `"torchvision"`: area uniform, aspect ratio log-uniform and in pixels,
      ten tries, then the largest central box; bilinear.
    - `"tf"`, the official code of SimCLR: aspect ratio uniform, then height
      uniform among those that fit, as `tf.image.sample_distorted_bounding_box`
      does; ten tries where SimCLR makes a hundred, then the whole image;
      bicubic.
    - `"tf_byol"`, the official code of BYOL: area and aspect ratio as
      torchvision, a box larger than the image is clipped; bicubic.

    A stock `keras_cv.layers.RandomCropAndResize` clips boxes too, and takes
    the aspect ratio relative to the image's. Output is of shape (B, height,
    width, 3), float32, 0..255. With `training=False` the whole image is
    resized.

    Args:
        size: Integer or (height, width), the size of the result in pixels.
        area: (smallest, largest) share of the image's area, in (0, 1].
        aspect: (smallest, largest) width / height of the box.
        antialias: Whether boxes larger than `size` are filtered as Pillow
            does; only with `"torchvision"`. Off by default: about as fast up
            to 64 pixels, several times slower at 224.
        semantics: `"torchvision"`, `"tf"` or `"tf_byol"`.
        **kwargs: `seed`, `salt`, `jit_compile` of `AugmentationLayer`, and
            `name`.

    Raises:
        ValueError: If an argument is out of range, or an input is not an
            image.

    Example:
    >>> crop = minc_tf.augment.RandomResizedCrop(32, area=(0.2, 1.0))
    >>> crop(np.zeros([8, 40, 50, 3], np.uint8)).shape
    TensorShape([8, 32, 32, 3])

    Reference: Szegedy et al. 2015, arXiv:1409.4842, section 6, with the
    settings of SimCLR (Chen et al. 2020, arXiv:2002.05709, appendix A).
    """

    stream = 1
    draws = sampling.CROP_DRAWS
    moves_pixels = True

    def __init__(
        self,
        size: int | tuple[int, int],
        area: tuple[float, float] = (0.08, 1.0),
        aspect: tuple[float, float] = (3 / 4, 4 / 3),
        antialias: bool = False,
        semantics: str = "torchvision",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = check_size("size", size)
        self.area = _validate.interval("area", area, 0.0, 1.0)
        self.aspect = _validate.interval("aspect", aspect, 0.0, 1e3)
        self.semantics = _validate.semantics(semantics)
        self.antialias = _validate.antialias(antialias, semantics)

    def sample(self, numbers: Tensor, height: int, width: int) -> Any:
        """Return boxes (B, 4): top, left, height, width in pixels."""
        boxes = {
            "torchvision": sampling.crop_boxes,
            "tf": sampling.distorted_boxes,
            "tf_byol": sampling.clipped_boxes,
        }[self.semantics]
        return boxes(numbers, height, width, self.area, self.aspect)

    def augment_images(
        self, images: Tensor, transformations: Tensor, **kwargs: Any
    ) -> Tensor:
        """Return the boxes of the images, resized."""
        return self.run(
            ops.crop_and_resize,
            images,
            transformations,
            size=self.size,
            antialias=self.antialias,
            bicubic=self.semantics != "torchvision",
        )

    def crop(self, image: Tensor, seeds: Tensor) -> Tensor:
        """Return the random box of one image, resized and rounded.

        The box is the one that the layer draws for this seed in a batch.

        Args:
            image: uint8 tensor of shape (H, W, 3), of any size.
            seeds: int64 tensor of shape (1, 2).

        Returns:
            uint8 tensor of shape (height, width, 3).
        """
        boxes = self.get_random_transformation_batch(
            1, images=image[None], seeds=seeds
        )
        top, left, height, width = tf.unstack(tf.cast(boxes[0], tf.int32))
        box = image[top : top + height, left : left + width]
        bicubic = self.semantics != "torchvision"
        resized = tf.image.resize(
            box,
            self.size,
            method="bicubic" if bicubic else "bilinear",
            antialias=self.antialias,
        )
        # Half up, as Pillow rounds; only the bicubic leaves 0..255.
        if bicubic:
            resized = tf.clip_by_value(resized, 0.0, 255.0)
        return tf.cast(resized + 0.5, tf.uint8)

    def deterministic_images(self, images: Tensor) -> Tensor:
        """Return the whole images, resized."""
        box = tf.cast(tf.stack([0, 0, *image_size(images)]), tf.float32)
        boxes = tf.tile(box[None, :], [batch_size(images), 1])
        return self.augment_images(images, boxes)

    def get_config(self) -> dict:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "size": self.size,
            "area": self.area,
            "aspect": self.aspect,
            "antialias": self.antialias,
            "semantics": self.semantics,
        }


@keras.saving.register_keras_serializable(package="minc_tf")
class RandomFlip(AugmentationLayer):
    """Mirrors images left to right, each with a given probability.

    With `training=False` images pass unchanged, as float32.

    Args:
        probability: Probability of the mirror image, in [0, 1].
        **kwargs: `seed`, `salt`, `jit_compile` of `AugmentationLayer`, and
            `name`.

    Raises:
        ValueError: If `probability` is out of range, or an input is not an
            image.

    Example:
    >>> flip = minc_tf.augment.RandomFlip()
    >>> flip(np.zeros([8, 32, 32, 3], np.uint8)).shape
    TensorShape([8, 32, 32, 3])

    Reference: Chen et al. 2020, arXiv:2002.05709, appendix A.
    """

    stream = 2
    draws = 1
    moves_pixels = True

    def __init__(self, probability: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.probability = _validate.probability("probability", probability)

    def sample(self, numbers: Tensor, height: int, width: int) -> Any:
        """Return which images to mirror, bool (B,)."""
        return numbers[:, 0] < self.probability

    def augment_images(
        self, images: Tensor, transformations: Tensor, **kwargs: Any
    ) -> Tensor:
        """Return the images, some mirrored."""
        return self.run(ops.flip_horizontal, images, transformations)

    def get_config(self) -> dict:
        """Return the constructor arguments."""
        return {**super().get_config(), "probability": self.probability}
