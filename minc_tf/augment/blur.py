"""The gaussian blur layer."""

from typing import Any

import keras
import tensorflow as tf

from minc_tf._types import Tensor
from minc_tf.augment import _validate, arrays, ops, sampling
from minc_tf.augment.base import AugmentationLayer

# Images blurred together where only some of a batch are.
_CHUNK = 4


@keras.saving.register_keras_serializable(package="minc_tf")
class RandomGaussianBlur(AugmentationLayer):
    """Blurs images, each with its own sigma and a given probability.

    Sigma is uniform. Borders are mirrored without repeating the border
    pixel, as in torchvision, or with `semantics="tf"` padded with zeros, as
    in the official code of SimCLR and BYOL and in keras-cv, which darkens
    them. With `training=False` images pass unchanged, as float32.

    Args:
        sigma: (smallest, largest) standard deviation in pixels, above 0.
        kernel_size: Odd number of pixels at which the gaussian is cut.
        probability: Probability that an image is blurred, in [0, 1].
        semantics: `"torchvision"`, `"tf"` or `"tf_byol"`; the last two are
            one.
        **kwargs: `seed`, `salt`, `jit_compile` of `AugmentationLayer`, and
            `name`.

    Raises:
        ValueError: If an argument is out of range, or an input is not an
            image, or is smaller than half the kernel.

    Example:
    >>> blur = minc_tf.augment.RandomGaussianBlur(kernel_size=23)
    >>> blur(np.zeros([8, 224, 224, 3], np.uint8)).shape
    TensorShape([8, 224, 224, 3])

    Reference: Chen et al. 2020, arXiv:2002.05709, appendix A: a kernel of a
    tenth of the image, sigma in (0.1, 2), half of the images.
    """

    stream = 5
    draws = 2

    def __init__(
        self,
        sigma: tuple[float, float] = (0.1, 2.0),
        kernel_size: int = 23,
        probability: float = 0.5,
        semantics: str = "torchvision",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sigma = _validate.interval("sigma", sigma, 0.0, 1e3)
        self.kernel_size = _validate.odd("kernel_size", kernel_size)
        self.probability = _validate.probability("probability", probability)
        self.semantics = _validate.semantics(semantics)

    def sample(self, numbers: Tensor, height: int, width: int) -> Any:
        """Return sigma in pixels (B,) and which images to blur, bool (B,)."""
        sigma = sampling.scale(numbers[:, 0], *self.sigma)
        return sigma, numbers[:, 1] < self.probability

    def augment_images(
        self, images: Tensor, transformations: Tensor, **kwargs: Any
    ) -> Tensor:
        """Return the images, some blurred."""
        mirror = self.semantics == "torchvision"
        for length in images.shape[1:3]:
            if mirror and length and length <= self.kernel_size // 2:
                raise ValueError(
                    f"kernel_size={self.kernel_size} needs images of more than "
                    f"{self.kernel_size // 2} pixels a side; received images "
                    f"of shape {images.shape[1:]}."
                )
        sigma, apply = transformations
        if self.probability < 1.0 and images.shape.is_fully_defined():
            return self._blur_some(images, sigma, apply)
        return self.run(arrays.select, images, self._blur(images, sigma), apply)

    def get_config(self) -> dict:
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "sigma": self.sigma,
            "kernel_size": self.kernel_size,
            "probability": self.probability,
            "semantics": self.semantics,
        }

    def _blur(self, images, sigma):
        # One program for each axis: a fifth faster at 224 pixels, on a CPU,
        # than a single program for both.
        for axis in (1, 2):
            images = self.run(
                ops.gaussian_blur,
                images,
                sigma,
                kernel_size=self.kernel_size,
                axis=axis,
                mirror=self.semantics == "torchvision",
            )
        return images

    def _blur_some(self, images, sigma, apply):
        """Blur the images to blur, chunk by chunk, and not the rest.

        All shapes are static, only the number of chunks is not.
        """
        batch = images.shape[0]
        size = min(_CHUNK, batch)
        chunks = -(-batch // size)
        order = tf.argsort(tf.cast(apply, tf.int32), direction="DESCENDING")
        place = tf.argsort(order)
        order = tf.pad(order, [[0, chunks * size - batch]])
        order = tf.reshape(order, [chunks, size])
        count = tf.reduce_sum(tf.cast(apply, tf.int32))

        def blur_chunk(chunk, results):
            index = tf.gather(order, chunk)
            blurred = self._blur(
                tf.gather(images, index), tf.gather(sigma, index)
            )
            return chunk + 1, results.write(chunk, blurred)

        results = tf.TensorArray(
            tf.float32, chunks, element_shape=(size, *images.shape[1:])
        )
        _, results = tf.while_loop(
            lambda chunk, _: chunk * size < count,
            blur_chunk,
            (0, results),
            parallel_iterations=1,
        )
        # Chunks that were not needed hold zeros, and no image takes them.
        blurred = tf.reshape(results.stack(), (-1, *images.shape[1:]))
        blurred = tf.gather(blurred, place)
        return self.run(arrays.select, images, blurred, apply)
