"""Decoupled contrastive learning on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/dcl.py --workdir runs/a

`simclr.py` without the positive in the denominator, at temperature 0.1 (Yeh et
al. 2022, arXiv 2110.06848).

No result with this encoder is known to us. Not run in full by the project: it
needs a GPU.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("simclr.py"))
    use_method(config, "dcl")
    return config
