"""MINC on ImageNet with a ResNet-50.

    minc-pretrain --config recipes/imagenet/minc.py --workdir runs/a

Projector 4096-256 as BYOL's, mu = 10, the full form of the objective; the rest
is shared with the other recipes of this folder. `--config.micro_batches=K`
trains with a batch that does not fit.

The paper (arXiv 2504.16667) places MINC above the spectral loss at every batch
size, above SimCLR, and near SimSiam and LinearBYOL. Not run in full by the
project: it needs 8 GPUs or more. It was checked end to end on generated images
of the same form.
"""

import pathlib

from minc_tf.training import load_recipe, set_widths, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("_base.py"))
    use_method(config, "minc", triangular=False)
    set_widths(config, (4096, 256))
    return config
