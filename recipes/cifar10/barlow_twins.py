"""Barlow Twins on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/barlow_twins.py --workdir runs/a

Projector of three layers of 2048, batch 256, LARS at 0.3 with weight decay
1e-4, as `vicreg.py` (Zbontar et al. 2021, arXiv 2103.03230).

Expect a linear probe of about 92.1 %, which solo-learn's README reports for
this method and encoder after 1000 epochs. Not run in full by the project: it
needs a GPU. lightly's documentation has a kNN accuracy of 81.9 % after 200
epochs.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("vicreg.py"))
    use_method(config, "barlow_twins")
    return config
