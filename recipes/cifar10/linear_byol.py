"""BYOL with a linear predictor on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/linear_byol.py --workdir runs/a

`byol.py` with one linear layer as the predictor (Grill et al. 2020, arXiv
2006.07733).

No result with this encoder is known to us. Not run in full by the project: it
needs a GPU.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("byol.py"))
    use_method(config, "linear_byol")
    return config
