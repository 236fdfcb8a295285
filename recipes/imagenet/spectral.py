"""The spectral contrastive loss on ImageNet with a ResNet-50.

    minc-pretrain --config recipes/imagenet/spectral.py --workdir runs/a

`minc.py` with the loss that MINC is derived from, mu = 10, as its paper has it
on ImageNet (HaoChen et al. 2021, arXiv 2106.04156).

No result was read at its source. Not run in full by the project: it needs 8
GPUs or more. It was checked end to end on generated images of the same form.
"""

import pathlib

from minc_tf.training import load_recipe, set_widths, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("minc.py"))
    use_method(config, "spectral", mu=10.0)
    set_widths(config, (4096, 256))
    return config
