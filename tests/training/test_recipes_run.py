"""Recipes of data sets that cannot be had here, on stand-ins of their form.

Each stand-in is prepared by TensorFlow Datasets under the data set's name, with
its splits, kinds of images and classes; a run of the recipe is shortened, and
its encoder narrow.
"""

import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from minc_tf.training import (
    from_settings,
    inspect,
    load_recipe,
    run,
    tensorflow_images,
)

ROOT = pathlib.Path(__file__).parents[2]
WNIDS = (ROOT / "recipes/imagenet100/classes.txt").read_text().split()
BATCH = 8


def prepare(folder, name, splits, size, classes, encoding="png"):
    """Writes a data set of noise as TensorFlow Datasets does.

    Args:
        folder: TensorFlow Datasets' folder.
        name: string, the data set's.
        splits: dict from the name of a split to its labels.
        size: int, or a function of an image's number: its (height, width).
        classes: sequence of str.
        encoding: "png" or "jpeg".
    """

    class StandIn(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            fixed = isinstance(size, int)
            shape = (size, size, 3) if fixed else (None, None, 3)
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(
                            shape=shape, encoding_format=encoding
                        ),
                        "label": tfds.features.ClassLabel(names=classes),
                    }
                ),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, dl_manager):
            return {
                split: self._generate_examples(labels)
                for split, labels in splits.items()
            }

        def _generate_examples(self, labels):
            rng = np.random.default_rng(len(labels))
            for i, label in enumerate(labels):
                shape = (size, size) if isinstance(size, int) else size(i)
                image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
                yield i, {"image": image, "label": label}

    StandIn.name = name
    StandIn(data_dir=str(folder)).download_and_prepare()


def shortened(recipe, folder, **changes):
    """One epoch of a recipe on few images."""
    config = load_recipe(ROOT / recipe)
    config.data.data_dir = str(folder)
    config.batch_size, config.epochs = BATCH, 1
    # Compiling takes longer than so short a run.
    config.jit_compile, config.precision = False, "float32"
    with config.unlocked():
        config.views.update(jitter_p=0.0, grey_p=0.0, blur_p=0.0)
    config.monitor.num_examples, config.monitor.k = 100, 3
    config.diagnostics.every, config.diagnostics.alarm = 0, "off"
    config.report.num_examples = 0
    # oneDNN's backward pass crashes on 4 channels of 224 x 224 pixels.
    config.encoder = {"name": "small_resnet", "filters": (16,)}
    for key, value in changes.items():
        config[key] = value
    return config


def labels(count, classes):
    return [i % classes for i in range(count)]


def test_cifar(tmp_path):
    names = [f"class{i}" for i in range(100)]
    splits = {"train": labels(24, 100), "test": labels(10, 100)}
    prepare(tmp_path / "tfds", "cifar100", splits, 32, names)
    config = shortened("recipes/cifar100.py:minc", tmp_path / "tfds")
    train, reference, test = tensorflow_images.load_sources(config)
    assert (len(train), len(reference), len(test)) == (24, 24, 10)
    assert train.image_shape == (32, 32, 3)


@pytest.mark.slow  # A run with its monitor, on 96 pixels.
def test_stl10_trains_on_its_unlabelled_images(tmp_path):
    splits = {
        "train": labels(12, 10),
        "test": labels(6, 10),
        "unlabelled": [-1] * 17,
    }
    names = [f"class{i}" for i in range(10)]
    prepare(tmp_path / "tfds", "stl10", splits, 96, names)
    config = shortened("recipes/stl10.py:minc", tmp_path / "tfds")
    summary = run(config, tmp_path / "run")
    assert summary["images"] == 17
    assert "knn_accuracy" in summary, "from the labelled splits"


def test_tiny_imagenet_is_a_folder(tmp_path):
    for split, count in (("train", 9), ("val", 4)):
        for name in ("n01443537", "n01629819"):
            folder = tmp_path / "tiny" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                rng = np.random.default_rng(i)
                pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.JPEG")
    config = shortened("recipes/tiny_imagenet.py:minc", tmp_path / "tiny")
    train, reference, test = tensorflow_images.load_sources(config)
    assert (len(train), len(reference), len(test)) == (18, 18, 8)
    assert train.image_shape == (64, 64, 3)


def photo_size(i):
    """Photos differ in size; one is smaller than a view."""
    return [(250, 300), (300, 240), (120, 90)][i % 3]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """`imagenet2012` with 102 classes, a few images of each of some."""
    folder = tmp_path_factory.mktemp("imagenet")
    classes = ["n00000001", *WNIDS, "n99999999"]
    chosen = [0, 1, 2, 3, 100, 101] * 4
    splits = {"train": chosen, "validation": chosen[:8]}
    prepare(
        folder, "imagenet2012", splits, photo_size, classes, encoding="jpeg"
    )
    return folder


@pytest.mark.slow  # A run with its monitor, of BYOL, on 64 pixels.
def test_imagenet(tmp_path, imagenet):
    config = shortened("recipes/imagenet.py:byol", imagenet)
    config.views.size = 64  # A tenth of the time.
    summary = run(config, tmp_path / "run")
    assert summary["images"] == 24
    assert np.isfinite(summary["loss"])


@pytest.mark.slow  # Prepares a data set; makes views of 224 pixels.
def test_imagenet100_is_its_hundred_classes(tmp_path, imagenet):
    config = shortened("recipes/imagenet100.py:minc", imagenet)
    report = inspect(config, tmp_path / "look", batches=1)
    # Four images each of three classes and of the last of the hundred.
    assert report["data"]["images"] == 16
    assert list(report["classes"]) == WNIDS
    assert report["classes"][WNIDS[0]] == 4


def test_learning_rate_follows_the_batch():
    """0.45 per 256 images, at every batch size from 512 to 4096."""
    for batch in (512, 1024, 4096):
        config = load_recipe(ROOT / "recipes/imagenet.py:minc")
        config.batch_size = batch
        config.encoder = {"name": "small_resnet", "filters": (4, 8)}
        model = from_settings.build_model(config)
        optimizer = from_settings.build_optimizer(config, 100, model)
        optimizer.build(model.trainable_variables)
        optimizer.iterations.assign(1000)  # the end of warm-up
        np.testing.assert_allclose(
            optimizer.learning_rate, 0.45 * batch / 256, rtol=1e-4
        )
