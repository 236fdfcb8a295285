"""MINC on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/minc.py --workdir runs/a

The objective in its full form, whose coordinates are ordered after training,
with mu = 10: what measurement favours (docs/minc.md). Everything else is what
the spectral contrastive loss uses on CIFAR-10.

The project knows no result for this encoder; solo-learn's README reports a
linear probe of about 92 % for the best methods with it after 1000 epochs. Not
run in full by the project: it needs a GPU.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("_base.py"))
    use_method(config, "minc", triangular=False)
    return config
