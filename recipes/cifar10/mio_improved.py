"""Improved MIO on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/mio_improved.py --workdir runs/a

`mio.py` with the bound that replaces the repulsion in the third version of the
paper (Manna et al., arXiv 2111.12664).

Expect a linear probe of about 86.4 %, which the paper's abstract (version 3)
reports for a ResNet-18 after 200 epochs. Not run in full by the project: it
needs a GPU.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("mio.py"))
    use_method(config, "mio_improved")
    return config
