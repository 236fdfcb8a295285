"""What the recipes of ImageNet share: images, views, encoder, optimizer.

ResNet-50, BYOL's asymmetric views (Grill et al. 2020, arXiv 2006.07733, table
6), LARS at 0.45 per 256 images with weight decay 1e-6 excluded from biases and
normalisation, 10 epochs of warm-up, cosine decay, 100 epochs. The learning rate
follows the batch: `--config.batch_size=512` to 4096 needs no other change; for
longer runs the same paper has 0.3 (300 epochs) and 0.2 (1000 epochs).

The images are read from `imagenet2012` of TensorFlow Datasets, prepared with
`tfds build` from the archives of image-net.org.
"""

from minc_tf.training import default_config


def get_config():
    """The settings that all methods have in common."""
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
