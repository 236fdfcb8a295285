"""MINC with a target network on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/minc_target.py --workdir runs/a

`minc.py`; the second view comes from a moving average of the network, as
BYOL's does, momentum 0.99 rising to 1.

No result with this encoder is known to us. Not run in full by the project: it
needs a GPU.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("minc.py"))
    use_method(config, "minc_target", triangular=False)
    return config
