"""The view distributions of the papers, as configurations for `MultiView`."""

import dataclasses
from collections.abc import Sequence

from minc_tf._checks import check_int, check_number
from minc_tf._registry import Registry
from minc_tf.augment import _validate
from minc_tf.augment.view_config import ViewConfig

_CHOICES = ("torchvision", "tf")

#: The pairs of views by their names in settings.
PRESETS = Registry("preset")


@PRESETS.register("simclr")
def simclr(
    size: int,
    strength: float = 1.0,
    blur: bool = True,
    area: tuple[float, float] = (0.08, 1.0),
    semantics: str = "torchvision",
) -> tuple[ViewConfig, ViewConfig]:
    """SimCLR's pair of views: both of one distribution.

    Jitter 0.8, 0.8, 0.8, 0.2 times `strength` with probability 0.8, greyscale
    0.2, blur 0.5 with a kernel of a tenth of the image. The official code
    also wants a tenth of the image in a crop (`min_object_covered`), so
    `semantics="tf"` raises a smaller `area` to 0.1.

    Args:
        size: Size of the views in pixels, which sets the kernel of the blur.
        strength: Factor of the colour jitter: 1 on ImageNet, 0.5 on CIFAR-10.
        blur: Whether to blur: yes on ImageNet, no on CIFAR-10.
        area: (smallest, largest) share of the image that a crop keeps.
        semantics: `"torchvision"`, or `"tf"` for the operations of the
            official code; see `ViewConfig`.

    Returns:
        Two equal `ViewConfig`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    >>> first, _ = minc_tf.augment.presets.simclr(224)
    >>> first.blur_kernel
    23

    Reference: Chen et al. 2020, arXiv:2002.05709, appendices A and B.9, and
    `tf2/data_util.py` of google-research/simclr.
    """
    strength = check_number("strength", strength, 0.0, 2.5)
    if _validate.semantics(semantics, _CHOICES) == "tf":
        low, high = _validate.interval("area", area, 0.0, 1.0)
        area = max(low, 0.1), max(high, 0.1)
    config = ViewConfig(
        area=area,
        brightness=0.8 * strength,
        contrast=0.8 * strength,
        saturation=0.8 * strength,
        hue=0.2 * strength,
        blur_p=0.5 if blur else 0.0,
        blur_kernel=_kernel(size),
        semantics=semantics,
    )
    return config, config


@PRESETS.register("byol")
def byol(
    size: int,
    area: tuple[float, float] = (0.08, 1.0),
    semantics: str = "torchvision",
) -> tuple[ViewConfig, ViewConfig]:
    """BYOL's pair of views, which differ in blur and solarize.

    Jitter 0.4, 0.4, 0.2, 0.1 with probability 0.8 and greyscale 0.2 in both;
    blur 1.0 and 0.1, solarize 0 and 0.2.

    Args:
        size: Size of the views in pixels, which sets the kernel of the blur.
        area: (smallest, largest) share of the image that a crop keeps.
        semantics: `"torchvision"`, or `"tf"` for the operations of the
            official code (`"tf_byol"` in `ViewConfig`).

    Returns:
        Two `ViewConfig`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    >>> [c.solarize_p for c in minc_tf.augment.presets.byol(224)]
    [0.0, 0.2]

    Reference: Grill et al. 2020, arXiv:2006.07733, appendix B, table 6, and
    `byol/utils` of deepmind-research.
    """
    official = _validate.semantics(semantics, _CHOICES) == "tf"
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
            solarize_threshold=127.5 if official else 128.0,
            semantics="tf_byol" if official else semantics,
        )
        for blur_p, solarize_p in ((1.0, 0.0), (0.1, 0.2))
    )
    return first, second


@PRESETS.register("simsiam")
def simsiam(
    size: int,
    strength: float = 1.0,
    blur: bool = True,
    area: tuple[float, float] = (0.2, 1.0),
) -> tuple[ViewConfig, ViewConfig]:
    """SimSiam's pair of views: both of one distribution, MoCo v2's.

    Jitter 0.4, 0.4, 0.4, 0.1 times `strength` with probability 0.8, greyscale
    0.2, blur 0.5: SimCLR's at half strength with larger crops.

    Args:
        size: Size of the views in pixels, which sets the kernel of the blur.
        strength: Factor of the colour jitter.
        blur: Whether to blur: yes on ImageNet, no on CIFAR-10.
        area: (smallest, largest) share of the image that a crop keeps.

    Returns:
        Two equal `ViewConfig`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    >>> minc_tf.augment.presets.simsiam(224)[0].area
    (0.2, 1.0)

    Reference: Chen & He 2021, arXiv:2011.10566, appendices A and D.
    """
    return simclr(size, strength / 2, blur, area)


@PRESETS.register("mio")
def mio(
    size: int,
    strength: float = 0.5,
    area: tuple[float, float] = (0.8, 1.0),
) -> tuple[ViewConfig, ViewConfig]:
    """Return MIO's pair of views, as its authors' code draws them.

    Crop area 0.8 to 1, far more than the others keep; jitter 0.8, 0.8, 0.8,
    0.2 times `strength` with probability 0.8, greyscale 0.2; above 32 pixels
    also blur 0.5, and solarize 0.2 at half of the value range. The code
    flips before it crops, which has the same distribution, and its kernel of
    the blur has a tenth of the size, made odd. What the paper prints of its
    views was not compared with the code.

    Args:
        size: Size of the views in pixels: sets the kernel of the blur, and
            whether to blur and solarize.
        strength: Factor of the colour jitter; 0.5 on CIFAR-10 in the code.
        area: (smallest, largest) share of the image that a crop keeps.

    Returns:
        Two equal `ViewConfig`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    >>> minc_tf.augment.presets.mio(96)[0].solarize_p
    0.2

    Reference: Manna et al. 2021, arXiv:2111.12664, and `model_transforms.py`
    of miossl/miossl.
    """
    large = check_int("size", size, 1, 2**31) > 32
    config, _ = simclr(size, strength, blur=large, area=area)
    config = dataclasses.replace(
        config,
        solarize_p=0.2 if large else 0.0,
        solarize_threshold=127.5,
    )
    return config, config


def multi_crop(
    large: Sequence[ViewConfig],
    size: int,
    small_size: int = 96,
    count: int = 6,
    area: tuple[float, float] = (0.05, 0.14),
) -> tuple[list[ViewConfig], list[tuple[int, int]]]:
    """Add small crops to the views, as SwAV does, for `MultiView`.

    A small view is drawn as a large one, in turn, but for its area, its size
    and the kernel of its blur.

    Args:
        large: The large views, such as `simclr(224, area=(0.14, 1.0))`.
        size: Size of the large views in pixels.
        small_size: Size of the small views in pixels.
        count: Number of small views.
        area: (smallest, largest) share of the image that a small crop keeps.

    Returns:
        The configurations and the sizes of all views, the large ones first.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    >>> large = minc_tf.augment.presets.simclr(224, area=(0.14, 1.0))
    >>> views = minc_tf.augment.presets.multi_crop(large, 224)
    >>> len(minc_tf.augment.MultiView(*views).configs)
    8

    Reference: Caron et al. 2020, arXiv:2006.09882, section 3.2 and its
    authors' code: two crops of 224 pixels with area 0.14 to 1, and six of 96
    pixels with area 0.05 to 0.14.
    """
    check_int("count", count, 0, 10**3)
    if not isinstance(large, Sequence) or not large:
        raise ValueError(
            "large must be a sequence of one or more `ViewConfig`; received "
            f"{large!r}."
        )
    kernel = _kernel(small_size)
    small = [
        dataclasses.replace(
            large[i % len(large)], area=area, blur_kernel=kernel
        )
        for i in range(count)
    ]
    sizes = [size] * len(large) + [small_size] * count
    return [*large, *small], [(s, s) for s in sizes]


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
    check_int("size", size, 1, 2**31)
    return max(3, (size // 10) | 1)
