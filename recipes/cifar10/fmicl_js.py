"""f-MICL (Jensen-Shannon) on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/fmicl_js.py --workdir runs/a

`simclr.py` with the objective of Lu et al. 2023, arXiv 2402.10150. The weight
of the repulsion and the width of the kernel are ours (docs/methods.md): the
paper's were not available to us.

No result with this encoder is known to us. Not run in full by the project: it
needs a GPU.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("simclr.py"))
    use_method(config, "fmicl_js")
    return config
