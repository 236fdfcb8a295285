"""The view distributions of the papers, as configurations for `MultiView`."""

from minc_tf.augment import _validate
from minc_tf.augment.views import ViewConfig


def simclr(
    size: int,
    strength: float = 1.0,
    blur: bool = True,
    area: tuple[float, float] = (0.08, 1.0),
) -> tuple[ViewConfig, ViewConfig]:
    """SimCLR's pair of views: both of one distribution.

    Jitter 0.8, 0.8, 0.8, 0.2 times `strength` with probability 0.8, greyscale
    0.2, blur 0.5 with a kernel of a tenth of the image.

    Args:
        size: Size of the views in pixels, which sets the kernel of the blur.
        strength: Factor of the colour jitter: 1 on ImageNet, 0.5 on CIFAR-10.
        blur: Whether to blur: yes on ImageNet, no on CIFAR-10.
        area: (smallest, largest) share of the image that a crop keeps.

    Returns:
        Two equal `ViewConfig`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    >>> first, _ = minc_tf.augment.presets.simclr(224)
    >>> first.blur_kernel
    23

    Reference: Chen et al. 2020, arXiv:2002.05709, appendices A and B.9.
    """
    strength = _validate.number("strength", strength, 0.0, 2.5)
    config = ViewConfig(
        area=area,
        brightness=0.8 * strength,
        contrast=0.8 * strength,
        saturation=0.8 * strength,
        hue=0.2 * strength,
        blur_p=0.5 if blur else 0.0,
        blur_kernel=_kernel(size),
    )
    return config, config


def byol(
    size: int, area: tuple[float, float] = (0.08, 1.0)
) -> tuple[ViewConfig, ViewConfig]:
    """BYOL's pair of views, which differ in blur and solarize.

    Jitter 0.4, 0.4, 0.2, 0.1 with probability 0.8 and greyscale 0.2 in both;
    blur 1.0 and 0.1, solarize 0 and 0.2.

    Args:
        size: Size of the views in pixels, which sets the kernel of the blur.
        area: (smallest, largest) share of the image that a crop keeps.

    Returns:
        Two `ViewConfig`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    >>> [c.solarize_p for c in minc_tf.augment.presets.byol(224)]
    [0.0, 0.2]

    Reference: Grill et al. 2020, arXiv:2006.07733, appendix B, table 6.
    """
    first, second = (
        ViewConfig(
            area=area,
            brightness=0.4,
            contrast=0.4,
            saturation=0.2,
            hue=0.1,
            blur_p=blur_p,
            blur_kernel=_kernel(size),
            solarize_p=solarize_p,
        )
        for blur_p, solarize_p in ((1.0, 0.0), (0.1, 0.2))
    )
    return first, second


def spectral_cifar() -> tuple[ViewConfig, ViewConfig]:
    """Return the views of the spectral contrastive loss on CIFAR-10.

    Crop area 0.2 to 1, jitter 0.4, 0.4, 0.4, 0.1 with probability 0.8,
    greyscale 0.2, no blur: SimCLR's at half strength with larger crops.

    Returns:
        Two equal `ViewConfig`.

    Example:
    >>> minc_tf.augment.presets.spectral_cifar()[0].area
    (0.2, 1.0)

    Reference: HaoChen et al. 2021, arXiv:2106.04156, and its authors' code.
    """
    return simclr(32, strength=0.5, blur=False, area=(0.2, 1.0))


def _kernel(size: int) -> int:
    """Return a tenth of the image, made odd; at least 3 to blur at all."""
    _validate.integer("size", size, 1, 2**31)
    return max(3, (size // 10) | 1)
