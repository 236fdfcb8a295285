"""Every method on CIFAR-10 with a ResNet-18, for one GPU; two for a CPU.

    minc-pretrain --config minc_tf:cifar10:minc --workdir runs/a
    minc-pretrain --config minc_tf:cifar10:byol --workdir runs/b

The argument is a method of docs/methods.md, or `minc_cpu` or `spectral_cpu`;
without one it is `minc`.

Views, SGD at 0.03 per 256 images with momentum 0.9, batch 512, 800 epochs and
10 of warm-up are those of the spectral contrastive loss's code on CIFAR-10
(HaoChen et al. 2021, arXiv 2106.04156), and nearly those of SimSiam. Its
coupled weight decay 5e-4 is written as Keras's decoupled one: after a
momentum of 0.9 a coupled decay pulls ten times as far. A method changes only
what is published with it:

- `minc`, `minc_target`: the objective in its full form, whose coordinates are
  ordered after training, with mu = 10: what measurement favours
  (docs/minc.md).
- `spectral`: mu = 1, as in its authors' code.
- `simsiam`: predictor 512-2048 at a constant learning rate (Chen & He 2021,
  arXiv 2011.10566).
- `simclr` and its kin (`simclr_*`, `dcl*`, `fmicl_*`, `mio*`): LARS at 1.0 with
  weight decay 1e-4 (Chen et al. 2020, arXiv 2002.05709, appendix B.9). The
  weight of f-MICL's repulsion and the width of its kernel are ours
  (docs/methods.md): the paper's were not available to us.
- `byol`, `linear_byol`: heads 4096-256, target momentum 0.99 rising to 1, batch
  256, LARS at 1.0 with weight decay 1e-5 (Grill et al. 2020, arXiv 2006.07733,
  with the settings that are common on CIFAR-10).
- `vicreg`, `vicreg_*`, `barlow_twins`: projector of three layers of 2048, batch
  256, LARS at 0.3 with weight decay 1e-4 (Bardes et al. 2022, arXiv
  2105.04906, with the settings that are common on CIFAR-10). The temperature
  0.1 of `vicreg_exp` and `vicreg_ctr` is ours.
- `tico`: heads 4096-256, target momentum 0.99 rising to 1 and rho = 20, as in
  sayannag/TiCo-pytorch (Zhu et al. 2022, arXiv 2206.10698); the rest is shared.

None of these was run in full by the project: it needs a GPU. What others report
with this encoder, linear probe and kNN accuracy in %:

| method | linear, solo-learn, 1000 epochs | kNN, lightly, 200 epochs |
| --- | --- | --- |
| `barlow_twins` | 92.1 | 81.9 |
| `byol` | 92.58 | 86.8 |
| `simclr` | 90.74 | 84.8 |
| `simsiam` | 90.51 | 76.4 |
| `vicreg` | 92.07 | |
| `mio`, `mio_improved` | 86.4 (the paper's abstract, version 3; 200 epochs) | |

(The README of solo-learn, the documentation of lightly.) No result is known to
us of the others; about 92 % in the second column is where the best are.

    minc-pretrain --config minc_tf:cifar10:minc_cpu --workdir runs/minc_cpu

`minc_cpu` is MINC with a small ResNet for a laptop: 20 epochs take about 15
minutes on two free cores. `spectral_cpu` is its baseline, at the batch at which
the baseline was measured, 256. What came out of both is in
`benchmarks/results/`; `--config.data.data_dir=DIR` names a prepared TFDS folder
where there is no network.
"""

from minc_tf.training import default_config, set_widths, use_method

#: Methods with the settings of another, but for what makes them a method.
LIKE = {
    "linear_byol": "byol",
    **dict.fromkeys(("vicreg_exp", "vicreg_ctr", "barlow_twins"), "vicreg"),
    **dict.fromkeys(
        (
            *("dcl", "dcl_sq", "dcl_abs"),
            *("fmicl_kl", "fmicl_js", "fmicl_pearson"),
            *("fmicl_hellinger", "fmicl_tsallis", "fmicl_vlc"),
            *("mio", "mio_improved"),
        ),
        "simclr",
    ),
}

#: Arguments of an objective that are not the method's own.
OBJECTIVE = {
    "minc": {"triangular": False},
    "minc_target": {"triangular": False},
}


def lars(learning_rate, weight_decay, momentum_of="gradient"):
    """The optimizer of the methods that are published with LARS."""
    return {
        "name": "lars",
        "learning_rate": learning_rate,
        "scale_with_batch": False,
        "warmup_epochs": 10,
        "weight_decay": weight_decay,
        "momentum_of": momentum_of,
    }


SIMCLR = {"optimizer": lars(1.0, 1e-4, momentum_of="update")}

#: Settings in which a method differs.
CHANGES = {
    "simclr": SIMCLR,
    "simclr_sq": SIMCLR,
    "simclr_abs": SIMCLR,
    "byol": {"batch_size": 256, "optimizer": lars(1.0, 1e-5)},
    "vicreg": {"batch_size": 256, "optimizer": lars(0.3, 1e-4)},
}


def get_config(method="minc"):
    """The settings of a method."""
    if method in ("minc_cpu", "spectral_cpu"):
        return on_a_cpu(method)
    if method in LIKE:
        config = get_config(LIKE[method])
        use_method(config, method)
        return config
    config = shared()
    use_method(config, method, **OBJECTIVE.get(method, {}))
    for key, value in CHANGES.get(method, {}).items():
        config[key] = value
    return config


def shared():
    """What all methods have in common."""
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


def on_a_cpu(method):
    """A small ResNet, with MINC or the spectral loss that it comes from."""
    config = get_config("minc")
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
    if method == "spectral_cpu":
        config.batch_size = 256
        config.objective = {"name": "spectral", "mu": 10.0}
    return config
