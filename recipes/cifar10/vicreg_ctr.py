"""VICReg-ctr on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/vicreg_ctr.py --workdir runs/a

`vicreg.py` with images in the place of dimensions (Garrido et al. 2023, arXiv
2206.02574). The temperature, 0.1, is ours: the paper's was not available to
us.

No result with this encoder is known to us. Not run in full by the project: it
needs a GPU.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("vicreg.py"))
    use_method(config, "vicreg_ctr")
    return config
