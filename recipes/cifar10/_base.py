"""What the recipes of CIFAR-10 share: images, views, encoder, optimizer.

Views, SGD at 0.03 per 256 images with momentum 0.9, batch 512, 800 epochs and
10 of warm-up are those of the spectral contrastive loss's code on CIFAR-10
(HaoChen et al. 2021, arXiv 2106.04156), and nearly those of SimSiam. Its
coupled weight decay 5e-4 is written as Keras's decoupled one: behind a
momentum of 0.9 a coupled decay pulls ten times as far.

A recipe loads these settings, calls `use_method`, and changes only what is
published with the method.
"""

from minc_tf.training import default_config


def get_config():
    """The settings that all methods have in common."""
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
