"""MINC on CIFAR-10 with a small ResNet, for a laptop or two CPU cores.

    minc-pretrain --config recipes/cifar10/minc_cpu.py --workdir runs/minc_cpu

20 epochs take about 15 minutes on two free cores. What came out is in
`benchmarks/results/`; `--config.data.data_dir=DIR` names a prepared TFDS folder
where there is no network.
"""

from minc_tf.training import default_config


def get_config():
    """The settings of the run."""
    config = default_config()
    config.batch_size = 128
    config.epochs = 20
    config.data.name = "cifar10"
    config.views = {
        "preset": "simclr",
        "size": 32,
        "strength": 0.5,
        "blur": False,
        "area": (0.2, 1.0),
    }
    config.encoder = {"name": "small_resnet", "filters": (32, 64, 128, 256)}
    config.projector = {"widths": (512, 128)}
    config.objective = {
        "name": "minc",
        "dim": 128,
        "triangular": False,
        "mu": 10.0,
    }
    config.optimizer = {
        "name": "adamw",
        "learning_rate": 2e-3,
        "scale_with_batch": False,
        "warmup_epochs": 1,
        "weight_decay": 0.05,
    }
    config.monitor.every = 5
    config.monitor.num_examples = 5000
    return config
