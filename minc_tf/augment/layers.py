"""The layers of one view, in order."""

from minc_tf.augment.base import AugmentationLayer
from minc_tf.augment.blur import RandomGaussianBlur
from minc_tf.augment.color import (
    ColorJitter,
    RandomGrayscale,
    RandomSolarize,
)
from minc_tf.augment.geometry import RandomFlip, RandomResizedCrop
from minc_tf.augment.view_config import ViewConfig


def view_layers(
    size: int | tuple[int, int],
    config: ViewConfig,
    *,
    seed: int | None = None,
    salt: int = 0,
    jit_compile: bool | str = "auto",
) -> list[AugmentationLayer]:
    """Build the layers of one view, in order, to use alone or with others.

    Args:
        size: Integer or (height, width), the size of the view in pixels.
        config: The distribution of the view.
        seed: See `AugmentationLayer`.
        salt: See `AugmentationLayer`; another salt gives independent views.
        jit_compile: See `AugmentationLayer`.

    Returns:
        List of `AugmentationLayer`.

    Example:
    >>> layers = minc_tf.augment.view_layers(32, minc_tf.augment.ViewConfig())
    >>> view = keras.Sequential(layers)(np.zeros([8, 40, 40, 3], np.uint8))
    >>> view.shape
    TensorShape([8, 32, 32, 3])

    Reference: Chen et al. 2020, arXiv:2002.05709, appendix A; Grill et al.
    2020, arXiv:2006.07733, appendix B.
    """
    common = {"seed": seed, "salt": salt, "jit_compile": jit_compile}
    layers = [
        RandomResizedCrop(
            size,
            area=config.area,
            aspect=config.aspect,
            antialias=config.antialias,
            semantics=config.semantics,
            **common,
        )
    ]
    if config.flip:
        layers.append(RandomFlip(config.flip, **common))
    if config.jitter_p:
        layers.append(
            ColorJitter(
                config.brightness,
                config.contrast,
                config.saturation,
                config.hue,
                probability=config.jitter_p,
                semantics=config.semantics,
                **common,
            )
        )
    if config.grey_p:
        layers.append(RandomGrayscale(config.grey_p, **common))
    if config.blur_p:
        layers.append(
            RandomGaussianBlur(
                config.blur_sigma,
                config.blur_kernel,
                probability=config.blur_p,
                semantics=config.semantics,
                **common,
            )
        )
    if config.solarize_p:
        layers.append(
            RandomSolarize(
                config.solarize_threshold,
                probability=config.solarize_p,
                **common,
            )
        )
    return layers
