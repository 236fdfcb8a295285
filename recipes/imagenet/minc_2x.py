"""MINC on ImageNet with a ResNet-50 of double width.

    minc-pretrain --config recipes/imagenet/minc_2x.py --workdir runs/a

`minc.py` with all channels doubled (94 million parameters).

No result is known to us. Not run in full by the project: it needs 8 GPUs or
more. It was checked end to end on generated images of the same form.
"""

import pathlib

from minc_tf.training import load_recipe


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("minc.py"))
    config.encoder.width = 2
    return config
