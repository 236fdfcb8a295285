"""SimSiam on CIFAR-10, ResNet-18; for one GPU.

    minc-pretrain --config recipes/cifar10/simsiam.py --workdir runs/a

Projector 2048-2048-2048, predictor 512-2048 at a constant learning rate, SGD
at 0.03 per 256 images (Chen & He 2021, arXiv 2011.10566); the rest is shared
with the other recipes of this folder.

Expect a linear probe of about 90.51 %, which solo-learn's README reports for
this method and encoder after 1000 epochs. Not run in full by the project: it
needs a GPU. lightly's documentation has a kNN accuracy of 76.4 % after 200
epochs.
"""

import pathlib

from minc_tf.training import load_recipe, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("_base.py"))
    use_method(config, "simsiam")
    return config
