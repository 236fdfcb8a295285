"""The spectral contrastive loss in the setting of `minc_cpu.py`.

    minc-pretrain --config recipes/cifar10/spectral_cpu.py --workdir runs/sp

The baseline of MINC: only the objective differs. What came out is in
`benchmarks/results/`.
"""

import pathlib

from minc_tf.training import load_recipe


def get_config():
    """The settings of the run: `minc_cpu.py` but for the objective."""
    config = load_recipe(pathlib.Path(__file__).with_name("minc_cpu.py"))
    config.objective = {"name": "spectral", "mu": 10.0}
    return config
