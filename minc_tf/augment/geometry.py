"""Layers that move pixels: random resized crop and flip."""

import keras

from minc_tf.augment import _validate, ops, sampling
from minc_tf.augment.base import AugmentationLayer, batch_size, image_size


@keras.saving.register_keras_serializable(package="minc_tf")
class RandomResizedCrop(AugmentationLayer):
    """Cuts a random box from each image and resizes it.

    The sampling is torchvision's: area uniform, aspect ratio log-uniform and
    in pixels, ten tries, then the largest central box. A stock
    `keras_cv.layers.RandomCropAndResize` clips boxes instead of rejecting
    them, which favours large areas, and takes the aspect ratio relative to
    the image's. Output is of shape (B, height, width, 3), float32, 0..255.
    With `training=False` the whole image is resized.

    Args:
        size: Integer or (height, width), the size of the result in pixels.
        area: (smallest, largest) share of the image's area, in (0, 1].
        aspect: (smallest, largest) width / height of the box.
        antialias: Whether boxes larger than `size` are filtered as Pillow
            does. Off by default: about as fast up to 64 pixels, several
            times slower at 224.
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
        size,
        area=(0.08, 1.0),
        aspect=(3 / 4, 4 / 3),
        antialias=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.size = _validate.image_size("size", size)
        self.area = _validate.interval("area", area, 0.0, 1.0)
        self.aspect = _validate.interval("aspect", aspect, 0.0, 1e3)
        self.antialias = bool(antialias)

    def sample(self, numbers, height, width):
        """Return boxes (B, 4): top, left, height, width in pixels."""
        return sampling.crop_boxes(
            numbers, height, width, self.area, self.aspect
        )

    def augment_images(self, images, transformations, **kwargs):
        """Return the boxes of the images, resized."""
        return self.run(
            ops.crop_and_resize,
            images,
            transformations,
            size=self.size,
            antialias=self.antialias,
        )

    def deterministic_images(self, images):
        """Return the whole images, resized."""
        boxes = sampling.whole_image_boxes(
            batch_size(images), *image_size(images)
        )
        return self.augment_images(images, boxes)

    def get_config(self):
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "size": self.size,
            "area": self.area,
            "aspect": self.aspect,
            "antialias": self.antialias,
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

    def __init__(self, probability=0.5, **kwargs):
        super().__init__(**kwargs)
        self.probability = _validate.probability("probability", probability)

    def sample(self, numbers, height, width):
        """Return which images to mirror, bool (B,)."""
        return numbers[:, 0] < self.probability

    def augment_images(self, images, transformations, **kwargs):
        """Return the images, some mirrored."""
        return self.run(ops.flip_horizontal, images, transformations)

    def get_config(self):
        """Return the constructor arguments."""
        return {**super().get_config(), "probability": self.probability}
