"""SimCLR on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/simclr.py --workdir runs/a

Temperature 0.5 and LARS at 1.0 with weight decay 1e-4 (Chen et al. 2020, arXiv
2002.05709, appendix B.9); everything else is shared with the other recipes of
this folder.

Expect a linear probe of about 90.74 %, which solo-learn's README reports for
this method and encoder after 1000 epochs. Not run in full by the project: it
needs a GPU. lightly's documentation has a kNN accuracy of 84.8 % after 200
epochs.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("_base.py"))
    use_method(config, "simclr")
    config.optimizer = {
        "name": "lars",
        "learning_rate": 1.0,
        "scale_with_batch": False,
        "warmup_epochs": 10,
        "weight_decay": 1e-4,
        "momentum_of": "update",
    }
    return config
