r"""Every method on Tiny-ImageNet with a ResNet-18; for one GPU.

    minc-pretrain --config minc_tf:tiny_imagenet:minc --workdir runs/a \
        --config.data.data_dir=tiny-imagenet-200

200 classes of 64 pixels, from a folder: `train/<class>/*.JPEG` and
`val/<class>/*.JPEG`. The archive (cs231n.stanford.edu/tiny-imagenet-200.zip)
has the training images of a class one folder deeper, in `images`, and the
validation images in one folder beside a table, `val_annotations.txt`: move
them first. The rest, and the arguments, are those of `recipes/cifar10.py`.

MIO's abstract (arXiv 2111.12664, version 3) has a linear probe of 30.9 % after
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
    config.data.name = "folder"
    config.data.image_size = 64
    config.data.test_split = "val"
    config.views = {"preset": "simclr", "size": 64, "area": (0.2, 1.0)}
    return config
