"""Every method on CIFAR-100 with a ResNet-18; for one GPU.

    minc-pretrain --config minc_tf:cifar100:minc --workdir runs/a

The recipe of CIFAR-10, `recipes/cifar10.py`, and its arguments, on the images
of CIFAR-100.

solo-learn's README reports linear probes of 65.8 (SimCLR) to 70.9 % (Barlow
Twins) with this encoder after 1000 epochs. Not run in full by the project: it
needs a GPU. It was checked end to end on generated images of the same form.
"""

import pathlib

from minc_tf.training import load_recipe


def get_config(method="minc"):
    """The settings of a method."""
    cifar10 = pathlib.Path(__file__).with_name("cifar10.py")
    config = load_recipe(f"{cifar10}:{method}")
    config.data.name = "cifar100"
    return config
