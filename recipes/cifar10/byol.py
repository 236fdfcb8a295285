"""BYOL on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/byol.py --workdir runs/a

Heads 4096-256, target momentum 0.99 rising to 1, batch 256, LARS at 1.0 with
weight decay 1e-5 (Grill et al. 2020, arXiv 2006.07733, with the settings that
are common on CIFAR-10); views and encoder are those of the other recipes.

Expect a linear probe of about 92.58 %, which solo-learn's README reports for
this method and encoder after 1000 epochs. Not run in full by the project: it
needs a GPU. lightly's documentation has a kNN accuracy of 86.8 % after 200
epochs.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("_base.py"))
    use_method(config, "byol")
    config.batch_size = 256
    config.optimizer = {
        "name": "lars",
        "learning_rate": 1.0,
        "scale_with_batch": False,
        "warmup_epochs": 10,
        "weight_decay": 1e-5,
        "momentum_of": "gradient",
    }
    return config
