"""MINC, the spectral loss and BYOL on ImageNet with a ResNet-50.

    minc-pretrain --config minc_tf:imagenet:minc --workdir runs/a

ResNet-50, BYOL's asymmetric views (Grill et al. 2020, arXiv 2006.07733, table
6), LARS at 0.45 per 256 images with weight decay 1e-6 excluded from biases and
normalisation, 10 epochs of warm-up, cosine decay, 100 epochs. The learning rate
follows the batch: `--config.batch_size=512` to 4096 needs no other change, and
`--config.micro_batches=K` trains with a batch that does not fit; for longer
runs the same paper has 0.3 (300 epochs) and 0.2 (1000 epochs).

The images are read from `imagenet2012` of TensorFlow Datasets, prepared with
`tfds build` from the archives of image-net.org. The argument is one of

- `minc`, the default: projector 4096-256 as BYOL's, mu = 10, the full form of
  the objective. The paper (arXiv 2504.16667) places MINC above the spectral
  loss at every batch size, above SimCLR, and near SimSiam and LinearBYOL.
- `minc_2x`: the same with all channels doubled (94 million parameters). No
  result is known to us.
- `spectral`: the same with the loss that MINC is derived from, mu = 10, as its
  paper has it on ImageNet (HaoChen et al. 2021, arXiv 2106.04156). No result
  was read at its source.
- `byol`: heads 4096-256 and a momentum of 0.99 rising to 1, the paper's for 100
  epochs; 0.996 for 1000. Expect a linear probe of 74.3 % after 1000 epochs.

Not run in full by the project: it needs 8 GPUs or more. All were checked end to
end on generated images of the same form.
"""

from minc_tf.training import default_config, set_widths, use_method

#: For each argument the method, and arguments of its objective.
METHODS = {
    "minc": ("minc", {"triangular": False}),
    "minc_2x": ("minc", {"triangular": False}),
    "spectral": ("spectral", {"mu": 10.0}),
    "byol": ("byol", {}),
}


def get_config(argument="minc"):
    """The settings of one of `METHODS`."""
    if argument not in METHODS:
        raise ValueError(
            f"recipes/imagenet.py takes one of {', '.join(METHODS)}; received "
            f"{argument!r}."
        )
    config = shared()
    method, objective = METHODS[argument]
    use_method(config, method, **objective)
    set_widths(config, (4096, 256))
    if argument == "minc_2x":
        config.encoder.width = 2
    return config


def shared():
    """What all methods have in common."""
    config = default_config()
    config.batch_size = 4096
    config.epochs = 100
    config.jit_compile = True
    config.precision = "mixed_bfloat16"
    config.data.name = "imagenet2012"
    config.data.test_split = "validation"
    config.views = {"preset": "byol", "size": 224}
    config.encoder = {"name": "resnet50"}
    config.optimizer = {
        "name": "lars",
        "learning_rate": 0.45,
        "scale_with_batch": True,
        "warmup_epochs": 10,
        "weight_decay": 1e-6,
        "momentum_of": "gradient",
    }
    config.monitor.every = 10
    config.monitor.k = 200
    config.monitor.num_examples = 20000
    return config
