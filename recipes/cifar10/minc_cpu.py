"""MINC on CIFAR-10 with a small ResNet, for a laptop or two CPU cores.

    minc-pretrain --config recipes/cifar10/minc_cpu.py --workdir runs/minc_cpu

20 epochs take about 15 minutes on two free cores. What came out is in
`benchmarks/results/`; `--config.data.data_dir=DIR` names a prepared TFDS folder
where there is no network.
"""

import pathlib

from minc_tf.training import load_recipe, set_widths, use_method


def get_config():
    """The settings of the run."""
    config = load_recipe(pathlib.Path(__file__).with_name("_base.py"))
    use_method(config, "minc", triangular=False)
    set_widths(config, (512, 128))
    config.batch_size = 128
    config.epochs = 20
    config.jit_compile = False
    config.precision = "float32"
    config.encoder = {"name": "small_resnet", "filters": (32, 64, 128, 256)}
    config.optimizer = {
        "name": "adamw",
        "learning_rate": 2e-3,
        "scale_with_batch": False,
        "warmup_epochs": 1,
        "weight_decay": 0.05,
    }
    config.monitor = {"every": 5, "k": 20, "num_examples": 5000}
    return config
