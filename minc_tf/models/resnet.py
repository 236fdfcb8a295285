"""Residual networks as functional Keras models, from pixels to features."""

import keras
from keras import layers

from minc_tf._checks import check_choice, check_int, refusal
from minc_tf.models.backend import channels_last

#: Blocks a stage, and whether a block is a bottleneck.
_DEPTHS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
}


@channels_last()
def resnet(
    depth: int = 50,
    *,
    image_shape: tuple[int, int, int] = (224, 224, 3),
    width: int = 1,
    stem: str = "imagenet",
    batch_norm_momentum: float = 0.9,
    synchronized: bool = True,
    name: str | None = None,
) -> keras.Model:
    """ResNet v1.5: strides sit in the 3x3 convolutions of the bottlenecks.

    Args:
        depth: 18, 34 or 50.
        image_shape: (height, width, channels) of the images.
        width: int, factor of all channel counts (2 for the "2x" networks).
        stem: `"imagenet"` (7x7 stride 2, max-pooling) or `"cifar"` (3x3, no
            pooling) for images of about 32 pixels.
        batch_norm_momentum: float, share of the old moving statistics kept at
            a step.
        synchronized: bool, batch statistics over all replicas where there are
            several (TensorFlow only).
        name: string, the model's name.

    Returns:
        A functional model from images (B, H, W, C), values 0 to 255, to
        float32 features (B, F): F = 512 x width for 18 and 34, 2048 x width
        for 50.

    Raises:
        ValueError: for an argument without meaning.

    Example:
    ```python
    import minc_tf

    encoder = minc_tf.models.resnet(18, image_shape=(32, 32, 3), stem="cifar")
    print(encoder.output_shape)
    ```

    Source: He et al. 2016, arXiv 1512.03385; the v1.5 strides of
    torchvision; the CIFAR stem of SimCLR, arXiv 2002.05709, appendix B.9.
    """
    check_choice("resnet: depth", depth, sorted(_DEPTHS))
    check_int("resnet: width", width, 1)
    check_choice("resnet: stem", stem, ("imagenet", "cifar"))
    blocks, bottleneck = _DEPTHS[depth]
    net = _Builder(batch_norm_momentum, synchronized)

    images = keras.Input(image_shape, name="images")
    x = pixels_to_unit(images)
    if stem == "imagenet":
        x = net.conv_norm(x, 64 * width, 7, 2, "stem")
        x = layers.ReLU(name="stem_relu")(x)
        x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    else:
        x = net.conv_norm(x, 64 * width, 3, 1, "stem")
        x = layers.ReLU(name="stem_relu")(x)
    for stage, count in enumerate(blocks):
        filters = 64 * width * 2**stage
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            x = net.block(
                x, filters, stride, bottleneck, f"stage{stage + 1}_{block + 1}"
            )
    features = layers.GlobalAveragePooling2D(dtype="float32", name="features")
    name = name or f"resnet{depth}" + (f"_{width}x" if width > 1 else "")
    return keras.Model(images, features(x), name=name)


@channels_last()
def small_resnet(
    *,
    image_shape: tuple[int, int, int] = (32, 32, 3),
    filters: tuple[int, ...] = (32, 64, 128, 256),
    batch_norm_momentum: float = 0.9,
    synchronized: bool = True,
    name: str = "small_resnet",
) -> keras.Model:
    """A residual network for small images on a CPU.

    One basic block a stage after a 4x4 stem of stride 2 (a quarter of the
    pixels of the CIFAR stem), each later stage halving the resolution.

    Args:
        image_shape: (height, width, channels) of the images.
        filters: channels of each stage; the last is the feature dimension.
        batch_norm_momentum: float, share of the old moving statistics kept at
            a step.
        synchronized: bool, batch statistics over all replicas where there are
            several (TensorFlow only).
        name: string, the model's name.

    Returns:
        A functional model from images (B, H, W, C), values 0 to 255, to
        float32 features (B, filters[-1]).

    Raises:
        ValueError: for `filters` that are not positive ints.

    Example:
    ```python
    import minc_tf

    encoder = minc_tf.models.small_resnet(filters=(16, 32, 64))
    print(encoder.output_shape)
    ```
    """
    if (
        not isinstance(filters, (list, tuple))
        or not filters
        or min(filters) < 1
    ):
        raise refusal("small_resnet: filters", "one or more ints >= 1", filters)
    net = _Builder(batch_norm_momentum, synchronized)
    images = keras.Input(image_shape, name="images")
    x = pixels_to_unit(images)
    x = net.conv_norm(x, filters[0], 4, 2, "stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, count in enumerate(filters):
        stride = 2 if stage > 0 else 1
        x = net.block(x, count, stride, False, f"stage{stage + 1}_1")
    features = layers.GlobalAveragePooling2D(dtype="float32", name="features")
    return keras.Model(images, features(x), name=name)


def pixels_to_unit(images):
    """Rescales pixels from 0..255 to -1..1, in float32."""
    # bfloat16 has eight bits of mantissa; rescaling first keeps them for what
    # follows.
    return layers.Rescaling(
        1 / 127.5, offset=-1.0, dtype="float32", name="pixels_to_unit"
    )(images)


class _Builder:
    """Blocks that share their settings of batch normalisation."""

    def __init__(self, batch_norm_momentum, synchronized):
        self._momentum = batch_norm_momentum
        # Keras refuses synchronized=True on backends with a global view.
        self._synchronized = (
            synchronized and keras.backend.backend() == "tensorflow"
        )

    def conv_norm(self, x, filters, size, stride, name, gamma="ones"):
        """Convolution with explicit symmetric padding, then BN."""
        if stride > 1 and size > 1:
            x = layers.ZeroPadding2D((size - 1) // 2, name=f"{name}_pad")(x)
        x = layers.Conv2D(
            filters,
            size,
            stride,
            padding="valid" if stride > 1 else "same",
            use_bias=False,
            kernel_initializer=keras.initializers.VarianceScaling(
                2.0, mode="fan_out", distribution="truncated_normal"
            ),
            name=f"{name}_conv",
        )(x)
        return layers.BatchNormalization(
            momentum=self._momentum,
            epsilon=1e-5,
            gamma_initializer=gamma,
            synchronized=self._synchronized,
            name=f"{name}_norm",
        )(x)

    def block(self, x, filters, stride, bottleneck, name):
        """A basic or bottleneck block, its last BN starting at zero."""
        out = filters * (4 if bottleneck else 1)
        shortcut = x
        if stride > 1 or x.shape[-1] != out:
            shortcut = self.conv_norm(x, out, 1, stride, f"{name}_shortcut")
        if bottleneck:
            x = self.conv_norm(x, filters, 1, 1, f"{name}_a")
            x = layers.ReLU(name=f"{name}_a_relu")(x)
            x = self.conv_norm(x, filters, 3, stride, f"{name}_b")
            x = layers.ReLU(name=f"{name}_b_relu")(x)
            x = self.conv_norm(x, out, 1, 1, f"{name}_c", gamma="zeros")
        else:
            x = self.conv_norm(x, filters, 3, stride, f"{name}_a")
            x = layers.ReLU(name=f"{name}_a_relu")(x)
            x = self.conv_norm(x, out, 3, 1, f"{name}_b", gamma="zeros")
        x = layers.Add(name=f"{name}_add")([x, shortcut])
        return layers.ReLU(name=f"{name}_relu")(x)
