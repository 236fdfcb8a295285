"""Networks of keras.applications that are handed over without preprocessing."""

import warnings

import keras
from keras import layers

#: Layers near the input, by the module of the networks that have them all.
#: The first that fits counts.
_MARKS = {
    "densenet": ("conv1_conv", "conv2_block1_concat"),
    "resnet_v2": ("conv1_pad", "conv1_conv", "conv2_block1_preact_bn"),
    "resnet": ("conv1_pad", "conv1_conv", "conv2_block1_1_conv"),
    "inception_resnet_v2": ("mixed_5b", "block35_1_conv"),
    "inception_v3": ("mixed0", "mixed1"),
    "mobilenet": ("conv1", "conv_dw_1", "conv_pw_1"),
    "mobilenet_v2": ("Conv1", "bn_Conv1", "expanded_conv_depthwise"),
    "mobilenet_v3": ("conv", "conv_bn", "expanded_conv_depthwise"),
    "nasnet": ("stem_conv1", "stem_bn1", "reduction_conv_1_stem_1"),
    "vgg19": ("block1_conv1", "block1_conv2", "block3_conv4"),
    "vgg16": ("block1_conv1", "block1_conv2", "block1_pool"),
    "xception": ("block1_conv1", "block1_conv1_bn", "block2_sepconv1"),
    "efficientnet_v2": ("stem_conv", "stem_bn", "block1a_project_conv"),
}
#: Their networks do it themselves, unless they are told not to.
_PREPROCESSING = ("mobilenet_v3", "efficientnet_v2", "convnext")


def warn_of_missing_preprocessing(caller: str, encoder: keras.Layer) -> None:
    """Warns of a network of keras.applications that gets pixels of 0 to 255.

    It is known by its layers, so inside a subclass or after a layer it is not.
    """
    module = _unprepared(encoder)
    if module is None:
        return
    advice = (
        "make it by name, build_encoder('keras.applications.NAME', ...), or "
        f"call it on keras.applications.{module}.preprocess_input(images)"
    )
    if module in _PREPROCESSING:
        advice = "make it with include_preprocessing=True"
    warnings.warn(
        f"{caller}: encoder {encoder.name!r} is a network of "
        f"keras.applications.{module} without its preprocessing, and gets "
        f"pixels of 0 to 255; {advice}.",
        stacklevel=4,
    )


def _unprepared(encoder):
    """The module of such a network, or None."""
    holder, first = _entry(encoder)
    if not isinstance(first, layers.ZeroPadding2D | layers.Conv2D):
        return None
    if isinstance(holder, keras.Sequential):
        stem = holder.name.endswith("_stem")
        return (
            "convnext" if stem and first.name.endswith("_stem_conv") else None
        )
    names = {layer.name for layer in holder.layers}
    for module, marks in _MARKS.items():
        if names.issuperset(marks):
            return module
    return None


def _entry(layer):
    """The layer that gets the images first, and the network that it is of."""
    holder = None
    while True:
        if isinstance(layer, keras.Sequential):
            found = layer.layers[:1]
        elif isinstance(layer, keras.Model) and hasattr(layer, "operations"):
            images = layer.inputs[0]
            found = [
                operation
                for operation in layer.operations
                for node in operation._inbound_nodes
                if any(each is images for each in node.input_tensors)
            ]
        else:
            return holder, layer
        if len(found) != 1:
            return None, None
        holder, layer = layer, found[0]
