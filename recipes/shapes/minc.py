"""MINC on the embedded shapes: the demo, some three minutes on two cores.

    minc-pretrain --config minc_tf:shapes:minc --workdir runs/shapes

Needs no download. Expect a kNN accuracy (k = 200) of 85 % or more on the
features, from below 40 % on raw pixels; `make demo` prints both.
"""

from minc_tf.training import default_config


def get_config():
    """The settings of the run."""
    config = default_config()
    config.batch_size = 64
    config.epochs = 11
    config.data.name = "shapes"
    config.views = {
        "preset": "simclr",
        "size": 32,
        "strength": 0.5,
        "blur": False,
        "area": (0.5, 1.0),
        "hue": 0.0,
    }
    config.encoder = {"name": "small_resnet", "filters": (24, 48, 96)}
    config.projector = {"widths": (512, 128)}
    config.objective = {
        "name": "minc",
        "dim": 128,
        "triangular": False,
        "mu": 10.0,
    }
    config.optimizer = {
        "name": "adamw",
        "learning_rate": 8e-3,
        "scale_with_batch": False,
        "warmup_epochs": 1,
        "weight_decay": 0.05,
        # A smaller one makes whole steps of the rounding in gradients that
        # are nearly zero, and runs on other devices drift apart at once.
        "epsilon": 1e-4,
    }
    config.monitor.every = 2
    return config
