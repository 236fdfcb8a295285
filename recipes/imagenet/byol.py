"""BYOL on ImageNet with a ResNet-50.

    minc-pretrain --config recipes/imagenet/byol.py --workdir runs/a

Heads 4096-256 and a momentum of 0.99 rising to 1, the paper's for 100 epochs;
0.996 for 1000.

Expect a linear probe of 74.3 % after 1000 epochs (Grill et al. 2020, arXiv
2006.07733). Not run in full by the project: it needs 8 GPUs or more. It was
checked end to end on generated images of the same form.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("_base.py"))
    use_method(config, "byol")
    return config
