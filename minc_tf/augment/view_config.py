"""The distribution of one view."""

import dataclasses
from collections.abc import Sequence

from minc_tf._checks import check_number
from minc_tf.augment import _validate


@dataclasses.dataclass(frozen=True)
class ViewConfig:
    """The distribution of one view. The defaults are SimCLR's at 224 pixels.

    Operations come in the order crop, flip, jitter, greyscale, blur, solarize;
    one of probability 0 is left out. Crop, jitter and blur exist in the
    published `semantics`, of which their layers tell the details:

    | | `"torchvision"` | `"tf"` (SimCLR's code) | `"tf_byol"` |
    | --- | --- | --- | --- |
    | crop | rejects boxes | as `tf.image` | clips boxes |
    | resize | bilinear | bicubic | bicubic |
    | order | random, hue last | random | random |
    | brightness | multiplies | multiplies | adds |
    | contrast | about mean luma | about mean colour | about mean colour |
    | saturation | blend with luma | of HSV | of HSV |
    | border of blur | mirrored | black | black |

    Args:
        area: (smallest, largest) share of the image that a crop keeps.
        aspect: (smallest, largest) width / height of a crop.
        antialias: Whether crops larger than the view are filtered; only with
            `"torchvision"`.
        flip: Probability of the mirror image.
        jitter_p: Probability of the colour jitter.
        brightness: Largest change of the brightness factor.
        contrast: Largest change of the contrast factor.
        saturation: Largest change of the saturation factor.
        hue: Largest turn of the hue, in turns.
        grey_p: Probability of greyscale.
        blur_p: Probability of the gaussian blur.
        blur_sigma: (smallest, largest) standard deviation in pixels.
        blur_kernel: Odd number of pixels at which the gaussian is cut.
        solarize_p: Probability of solarize.
        solarize_threshold: Smallest value that solarize inverts, in 0..255.
        semantics: `"torchvision"`, `"tf"` or `"tf_byol"`.

    Raises:
        ValueError: If a field is out of range.

    Example:
    >>> minc_tf.augment.ViewConfig(area=(0.2, 1.0), blur_p=0.0).hue
    0.2
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    antialias: bool = False
    flip: float = 0.5
    jitter_p: float = 0.8
    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.2
    grey_p: float = 0.2
    blur_p: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    blur_kernel: int = 23
    solarize_p: float = 0.0
    solarize_threshold: float = 128.0
    semantics: str = "torchvision"

    def __post_init__(self):
        """Check the fields; lists, as read from JSON, become tuples."""
        for name, high in (("area", 1.0), ("aspect", 1e3), ("blur_sigma", 1e3)):
            value = _validate.interval(name, getattr(self, name), 0.0, high)
            object.__setattr__(self, name, value)
        for name in ("flip", "jitter_p", "grey_p", "blur_p", "solarize_p"):
            _validate.probability(name, getattr(self, name))
        for name in ("brightness", "contrast", "saturation"):
            check_number(name, getattr(self, name), 0.0, 1e3)
        check_number("hue", self.hue, 0.0, 0.5)
        _validate.odd("blur_kernel", self.blur_kernel)
        check_number("solarize_threshold", self.solarize_threshold, 0, 255)
        _validate.semantics(self.semantics)
        _validate.antialias(self.antialias, self.semantics)


def as_configs(configs: Sequence[ViewConfig | dict]) -> list[ViewConfig]:
    """Return a sequence of `ViewConfig`, or of dicts of fields, as a list."""
    if not isinstance(configs, Sequence) or not configs:
        raise ValueError(
            "configs must be a sequence of one or more `ViewConfig`; received "
            f"{configs!r}."
        )
    found = [ViewConfig(**c) if isinstance(c, dict) else c for c in configs]
    for config in found:
        if not isinstance(config, ViewConfig):
            raise ValueError(
                f"configs must hold `ViewConfig`; received {config!r}."
            )
    return found
