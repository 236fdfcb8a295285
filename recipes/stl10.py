"""Every method on STL-10 with a ResNet-18; for one GPU.

    minc-pretrain --config minc_tf:stl10:minc --workdir runs/a

Trains on the 100,000 unlabelled images of 96 pixels, in views of 96 with blur;
the labelled training images serve the kNN monitor and evaluation only. The
rest, and the arguments, are those of `recipes/cifar10.py`.

MIO's abstract (arXiv 2111.12664, version 3) has a linear probe of 80.5 % after
200 epochs of a ResNet-18. Not run in full by the project: it needs a GPU. It
was checked end to end on generated images of the same form.
"""

import pathlib

from minc_tf.training import load_recipe


def get_config(method="minc"):
    """The settings of a method."""
    cifar10 = pathlib.Path(__file__).with_name("cifar10.py")
    config = load_recipe(f"{cifar10}:{method}")
    config.epochs = 200
    config.data.name = "stl10"
    config.data.split = "unlabelled"
    config.data.labelled_split = "train"
    config.views = {"preset": "simclr", "size": 96, "area": (0.2, 1.0)}
    # Images of 96 pixels keep their detail after a stride of two.
    config.encoder = {"name": "resnet18"}
    config.monitor.num_examples = 5000
    return config
