"""DCL with absolute cosines on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/dcl_abs.py --workdir runs/a

`dcl.py` with the absolute value of every cosine (Garrido et al. 2023, arXiv
2206.02574).

No result with this encoder is known to us. Not run in full by the project: it
needs a GPU.
"""

import pathlib

from minc_tf.training import load_recipe


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("dcl.py"))
    config.objective.similarity = "absolute"
    return config
