"""The spectral contrastive loss on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/spectral.py --workdir runs/a

Settings of the authors' code on CIFAR-10 (HaoChen et al. 2021, arXiv
2106.04156), mu = 1; the optimizer is that of `_base.py`.

The project knows no result for this encoder; solo-learn's README reports a
linear probe of about 92 % for the best methods with it after 1000 epochs. Not
run in full by the project: it needs a GPU.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("_base.py"))
    use_method(config, "spectral")
    return config
