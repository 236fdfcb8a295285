"""VICReg on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/vicreg.py --workdir runs/a

Projector of three layers of 2048, batch 256, LARS at 0.3 with weight decay
1e-4 (Bardes et al. 2022, arXiv 2105.04906, with the settings that are common
on CIFAR-10).

Expect a linear probe of about 92.07 %, which solo-learn's README reports for
this method and encoder after 1000 epochs. Not run in full by the project: it
needs a GPU.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("_base.py"))
    use_method(config, "vicreg")
    config.batch_size = 256
    config.optimizer = {
        "name": "lars",
        "learning_rate": 0.3,
        "scale_with_batch": False,
        "warmup_epochs": 10,
        "weight_decay": 1e-4,
        "momentum_of": "gradient",
    }
    return config
