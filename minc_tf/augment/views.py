"""Several independent views of each image."""

import dataclasses
from collections.abc import Sequence

import keras

from minc_tf.augment import _validate
from minc_tf.augment.base import (
    IMAGE_KEY,
    SEED_KEY,
    AugmentationLayer,
    as_images,
    as_seeds,
    as_tensors,
    batch_size,
    check_dict,
    draw_seeds,
)
from minc_tf.augment.blur import RandomGaussianBlur
from minc_tf.augment.color import (
    ColorJitter,
    RandomGrayscale,
    RandomSolarize,
)
from minc_tf.augment.geometry import RandomFlip, RandomResizedCrop


@dataclasses.dataclass(frozen=True)
class ViewConfig:
    """The distribution of one view. The defaults are SimCLR's at 224 pixels.

    Operations come in the order crop, flip, jitter, greyscale, blur, solarize;
    one of probability 0 is left out.

    Args:
        area: (smallest, largest) share of the image that a crop keeps.
        aspect: (smallest, largest) width / height of a crop.
        antialias: Whether crops larger than the view are filtered.
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

    def __post_init__(self):
        """Check the fields; lists, as read from JSON, become tuples."""
        for name, high in (("area", 1.0), ("aspect", 1e3), ("blur_sigma", 1e3)):
            value = _validate.interval(name, getattr(self, name), 0.0, high)
            object.__setattr__(self, name, value)
        for name in ("flip", "jitter_p", "grey_p", "blur_p", "solarize_p"):
            _validate.probability(name, getattr(self, name))
        for name in ("brightness", "contrast", "saturation"):
            _validate.number(name, getattr(self, name), 0.0, 1e3)
        _validate.number("hue", self.hue, 0.0, 0.5)
        _validate.odd("blur_kernel", self.blur_kernel)
        _validate.number("solarize_threshold", self.solarize_threshold, 0, 255)


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


@keras.saving.register_keras_serializable(package="minc_tf")
class MultiView(keras.layers.Layer):
    """Makes several independent views of each image, one per configuration.

    Input is images, uint8 or float with values 0..255, of shape (B, H, W, 3)
    or (H, W, 3), or a dict with them under `"images"`; output is a tuple of
    float32 tensors of shape (B, height, width, 3), 0..255. A dict may hold
    `"augmentation_seed"`, int64 of shape (B, 2): then the views of an image
    are a function of its own pair, and otherwise they are drawn from the
    layer's own generator (see `AugmentationLayer`). Other entries are ignored.

    To get different views at each epoch the pair must hold the epoch, for
    example (run seed, epoch * images + index). With `training=False` every
    view is the whole image, resized.

    In `tf.data`, map it over batches with `drop_remainder=True`: XLA compiles
    it once for each batch size.

    Args:
        configs: Sequence of `ViewConfig` (or dicts of their fields), such as
            `minc_tf.augment.presets.byol(224)`.
        size: Integer or (height, width), the size of the views in pixels.
        seed: Integer or `None`, the seed of the layer's own generator.
        jit_compile: `"auto"`, `True` or `False`; see `AugmentationLayer`.
        **kwargs: `name`; `dtype` may only be `"float32"`.

    Raises:
        ValueError: If an argument is out of range, or an input is not an
            image.

    Example:
    >>> configs = minc_tf.augment.presets.simclr(32, strength=0.5, blur=False)
    >>> views = minc_tf.augment.MultiView(configs, size=32)
    >>> images = np.zeros([8, 32, 32, 3], np.uint8)
    >>> seeds = [(42, index) for index in range(8)]
    >>> view1, view2 = views({"images": images, "augmentation_seed": seeds})
    >>> view1.shape
    TensorShape([8, 32, 32, 3])

    Reference: Chen et al. 2020, arXiv:2002.05709, section 2.
    """

    def __init__(
        self,
        configs: Sequence[ViewConfig | dict],
        size: int | tuple[int, int],
        *,
        seed: int | None = None,
        jit_compile: bool | str = "auto",
        **kwargs,
    ):
        super().__init__(dtype=kwargs.pop("dtype", None) or "float32", **kwargs)
        if not isinstance(configs, Sequence) or not configs:
            raise ValueError(
                "`configs` must be a sequence of one or more `ViewConfig`, "
                f"got {configs!r}."
            )
        configs = [
            ViewConfig(**c) if isinstance(c, dict) else c for c in configs
        ]
        for config in configs:
            if not isinstance(config, ViewConfig):
                raise ValueError(
                    f"`configs` must hold `ViewConfig`, got {config!r}."
                )
        self.configs = configs
        self.size = _validate.image_size("size", size)
        self.seed = seed
        self.jit_compile = jit_compile
        self.view_layers = [
            view_layers(
                self.size, c, seed=seed, salt=index, jit_compile=jit_compile
            )
            for index, c in enumerate(self.configs)
        ]
        # Inputs stay as they are: uint8 images, int64 seeds.
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True

    def __call__(self, inputs, *args, **kwargs):
        """Convert arrays to tensors, then call the layer."""
        return super().__call__(as_tensors(inputs), *args, **kwargs)

    def call(self, inputs, training=True):
        """Make the views.

        Args:
            inputs: Images, or a dict with them under `"images"`.
            training: `False` for the whole image, resized; anything else
                augments.

        Returns:
            Tuple of float32 tensors, one per configuration.
        """
        seeds = None
        if isinstance(inputs, dict):
            check_dict(inputs)
            inputs, seeds = inputs[IMAGE_KEY], inputs.get(SEED_KEY)
        images = as_images(inputs)
        single = images.shape.rank == 3
        if single:
            images = images[None]
        if seeds is None:
            generator = self.view_layers[0][0].generator
            seeds = draw_seeds(generator, batch_size(images))
        else:
            seeds = as_seeds(seeds, images, single)
        views = []
        for layers in self.view_layers:
            view = {IMAGE_KEY: images, SEED_KEY: seeds}
            for layer in layers:
                view = layer(view, training=training)
            views.append(view[IMAGE_KEY])
        return tuple(v[0] if single else v for v in views)

    def get_config(self):
        """Return the constructor arguments."""
        return {
            **super().get_config(),
            "configs": [dataclasses.asdict(c) for c in self.configs],
            "size": self.size,
            "seed": self.seed,
            "jit_compile": self.jit_compile,
        }
