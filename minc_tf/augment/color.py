"""Layers that change colours: jitter, greyscale and solarize."""

from typing import Any

import keras
import tensorflow as tf

from minc_tf._checks import check_number
from minc_tf._types import Tensor
from minc_tf.augment import _validate, color_ops, sampling
from minc_tf.augment.base import AugmentationLayer


@keras.saving.register_keras_serializable(package="minc_tf")
class ColorJitter(AugmentationLayer):
    """Random brightness, contrast, saturation and hue.

    Factors of the first three are uniform in [max(0, 1 - x), 1 + x], and hue
    is a turn of the HSV circle, uniform in [-hue, hue]. Values are clipped to
    0..255 after each operation. What the factors do depends on `semantics`:

    - `"torchvision"`: they blend the image with black, with its mean luma and
      with its own luma, in an order that is random for each image. Hue comes
      last; torchvision places it at random as well, which moves the
      statistics of the colours by less than a Kolmogorov-Smirnov distance of
      0.05.
    - `"tf"`, the official code of SimCLR (version 2): a multiplied
      brightness, contrast about the mean of each channel, the saturation of
      HSV, and a random order of all four.
    - `"tf_byol"`, the official code of BYOL: as `"tf"`, but brightness adds a
      number uniform in [-x, x] times 255.

    Stock keras-cv layers differ from all: additive brightness, half the hue,
    one fixed order, and no probability. With `training=False` images pass
    unchanged, as float32.

    Args:
        brightness: Largest change of the brightness factor, at least 0.
        contrast: Largest change of the contrast factor, at least 0.
        saturation: Largest change of the saturation factor, at least 0.
        hue: Largest turn of the hue, in turns, in [0, 0.5].
        probability: Probability that an image is changed at all.
        semantics: `"torchvision"`, `"tf"` or `"tf_byol"`.
        **kwargs: `seed`, `salt`, `jit_compile` of `AugmentationLayer`, and
            `name`.

    Raises:
        ValueError: If an argument is out of range, or an input is not an
            image.

    Example:
    >>> jitter = minc_tf.augment.ColorJitter(0.4, 0.4, 0.2, 0.1)
    >>> jitter(np.zeros([8, 32, 32, 3], np.uint8)).shape
    TensorShape([8, 32, 32, 3])

    Reference: Chen et al. 2020, arXiv:2002.05709, appendix A; operations as
    in torchvision's `ColorJitter`, in `data_util.py` of google-research/simclr
    and in `augmentations.py` of BYOL in deepmind-research.
    """

    stream = 3
    draws = 9

    def __init__(
        self,
        brightness: float = 0.8,
        contrast: float = 0.8,
        saturation: float = 0.8,
        hue: float = 0.2,
        probability: float = 0.8,
        semantics: str = "torchvision",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.brightness = check_number("brightness", brightness, 0, 1e3)
        self.contrast = check_number("contrast", contrast, 0, 1e3)
        self.saturation = check_number("saturation", saturation, 0, 1e3)
        self.hue = check_number("hue", hue, 0, 0.5)
        self.probability = _validate.probability("probability", probability)
        self.semantics = _validate.semantics(semantics)

    def sample(self, numbers: Tensor, height: int, width: int) -> Any:
        """Return factors (B, 3), order (B, 3 or 4), turn (B,), apply (B,).

        The first factor is a number of grey levels with "tf_byol".
        """
        apply = numbers[:, 7] < self.probability
        parameters = sampling.jitter(
            tf.concat([numbers[:, :7], numbers[:, 8:]], axis=1),
            self.brightness,
            self.contrast,
            self.saturation,
            self.hue,
            self.semantics,
        )
        return *parameters, apply

    def augment_images(
        self, images: Tensor, transformations: Tensor, **kwargs: Any
    ) -> Tensor:
        """Return the images with other colours."""
        factors, order, turn, apply = transformations
        if self.semantics != "torchvision":
            return self._four_stages(images, factors, order, turn, apply)
        # Two programs: in one, XLA computes the first steps again for every
        # use that the hue makes of them, and takes more than twice as long.
        jittered = self.run(color_ops.jitter_in_order, images, factors, order)
        return self.run(color_ops.select_hue, images, jittered, turn, apply)

    def get_config(self) -> dict:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "brightness": self.brightness,
            "contrast": self.contrast,
            "saturation": self.saturation,
            "hue": self.hue,
            "probability": self.probability,
            "semantics": self.semantics,
        }

    def _four_stages(self, images, factors, order, turn, apply):
        for stage in range(4):
            images = self.run(
                color_ops.jitter_stage,
                images,
                *color_ops.stage(factors, order, turn, apply, stage),
                additive=self.semantics == "tf_byol",
            )
        return images


@keras.saving.register_keras_serializable(package="minc_tf")
class RandomGrayscale(AugmentationLayer):
    """Makes images grey, each with a given probability; three channels stay.

    Grey is 0.299 R + 0.587 G + 0.114 B. With `training=False` images pass
    unchanged, as float32.

    Args:
        probability: Probability of grey, in [0, 1].
        **kwargs: `seed`, `salt`, `jit_compile` of `AugmentationLayer`, and
            `name`.

    Raises:
        ValueError: If `probability` is out of range, or an input is not an
            image.

    Example:
    >>> grey = minc_tf.augment.RandomGrayscale(0.2)
    >>> grey(np.zeros([8, 32, 32, 3], np.uint8)).shape
    TensorShape([8, 32, 32, 3])

    Reference: Chen et al. 2020, arXiv:2002.05709, appendix A.
    """

    stream = 4
    draws = 1

    def __init__(self, probability: float = 0.2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.probability = _validate.probability("probability", probability)

    def sample(self, numbers: Tensor, height: int, width: int) -> Any:
        """Return which images to make grey, bool (B,)."""
        return numbers[:, 0] < self.probability

    def augment_images(
        self, images: Tensor, transformations: Tensor, **kwargs: Any
    ) -> Tensor:
        """Return the images, some grey."""
        return self.run(color_ops.random_grayscale, images, transformations)

    def get_config(self) -> dict:
        """Return the constructor arguments."""
        return {**super().get_config(), "probability": self.probability}


@keras.saving.register_keras_serializable(package="minc_tf")
class RandomSolarize(AugmentationLayer):
    """Inverts bright values, in each image with a given probability.

    A value v at or above `threshold` becomes 255 - v. With `training=False`
    images pass unchanged, as float32.

    Args:
        threshold: Smallest value that is inverted, in 0..255.
        probability: Probability that an image is solarized, in [0, 1].
        **kwargs: `seed`, `salt`, `jit_compile` of `AugmentationLayer`, and
            `name`.

    Raises:
        ValueError: If an argument is out of range, or an input is not an
            image.

    Example:
    >>> solarize = minc_tf.augment.RandomSolarize(128, probability=0.2)
    >>> solarize(np.zeros([8, 32, 32, 3], np.uint8)).shape
    TensorShape([8, 32, 32, 3])

    Reference: Grill et al. 2020, arXiv:2006.07733, appendix B; the operation
    is Pillow's `ImageOps.solarize`.
    """

    stream = 6
    draws = 1

    def __init__(
        self, threshold: float = 128.0, probability: float = 0.2, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.threshold = check_number("threshold", threshold, 0, 255)
        self.probability = _validate.probability("probability", probability)

    def sample(self, numbers: Tensor, height: int, width: int) -> Any:
        """Return which images to solarize, bool (B,)."""
        return numbers[:, 0] < self.probability

    def augment_images(
        self, images: Tensor, transformations: Tensor, **kwargs: Any
    ) -> Tensor:
        """Return the images, some solarized."""
        return self.run(
            color_ops.solarize,
            images,
            transformations,
            threshold=self.threshold,
        )

    def get_config(self) -> dict:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "threshold": self.threshold,
            "probability": self.probability,
        }
