"""The spectral contrastive loss in the setting of `minc_cpu.py`.

    minc-pretrain --config recipes/cifar10/spectral_cpu.py --workdir runs/sp

The baseline of MINC: the objective differs, and the batch, 256 pairs, at which
the baseline was measured. What came out is in `benchmarks/results/`.
"""

import pathlib

from minc_tf.training import load_recipe


def get_config():
    """The settings of the run: `minc_cpu.py` but for objective and batch."""
    config = load_recipe(pathlib.Path(__file__).with_name("minc_cpu.py"))
    config.batch_size = 256
    config.objective = {"name": "spectral", "mu": 10.0}
    return config
