"""MINC, the spectral loss and BYOL on ImageNet-100 with a ResNet-50.

    minc-pretrain --config minc_tf:imagenet100:minc --workdir runs/a

The hundred classes of `imagenet100/classes.txt` (Tian et al. 2020, arXiv
1906.05849), read from `imagenet2012`; 200 epochs at a batch of 512. The rest,
and the arguments, are those of `recipes/imagenet.py`.

MIO's abstract (arXiv 2111.12664, version 3) has a linear probe of 78.4 %. Not
run in full by the project: it needs GPUs. It was checked end to end on
generated images of the same form.
"""

import pathlib

from minc_tf.training import load_recipe


def get_config(argument="minc"):
    """The settings of an argument of `recipes/imagenet.py`."""
    here = pathlib.Path(__file__).parent
    config = load_recipe(f"{here / 'imagenet.py'}:{argument}")
    config.batch_size = 512
    config.epochs = 200
    config.data.classes = str(here / "imagenet100" / "classes.txt")
    return config
