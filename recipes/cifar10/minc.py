"""MINC on CIFAR-10 with a ResNet-18, as such papers train it; for one GPU.

    minc-pretrain --config recipes/cifar10/minc.py --workdir runs/cifar10_minc

Settings: those of the spectral contrastive loss's code on CIFAR-10 (HaoChen et
al. 2021, arXiv 2106.04156): CIFAR stem, projector 2048-BN-ReLU, 1000, SGD 0.03
per 256 images, batch 512, 800 epochs, crops of area 0.2 to 1. Its coupled
weight decay 5e-4 is written as Keras's decoupled one: behind a momentum of
0.9 a coupled decay pulls ten times as far.

Not run in full by the project yet: 800 epochs need a GPU. solo-learn's README
reports a linear probe of about 92 % for the best methods with this encoder
after 1000 epochs.
"""

from minc_tf.training import default_config


def get_config():
    """The settings of the run."""
    config = default_config()
    config.batch_size = 512
    config.epochs = 800
    config.jit_compile = True
    config.precision = "mixed_bfloat16"
    config.data.name = "cifar10"
    config.views = {
        "preset": "simclr",
        "size": 32,
        "strength": 0.5,
        "blur": False,
        "area": (0.2, 1.0),
    }
    config.encoder = {"name": "resnet18", "stem": "cifar"}
    config.projector = {"widths": (2048, 1000)}
    config.objective = {
        "name": "minc",
        "dim": 1000,
        "triangular": False,
        "mu": 10.0,
    }
    config.optimizer = {
        "name": "sgd",
        "learning_rate": 0.03,
        "scale_with_batch": True,
        "warmup_epochs": 10,
        "momentum": 0.9,
        "weight_decay": 5e-3,
    }
    config.monitor.every = 10
    config.monitor.k = 200
    config.monitor.num_examples = 10000
    return config
