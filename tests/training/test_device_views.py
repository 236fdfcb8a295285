"""Runs that make the views of training in the train step.

Those of test_run_methods do, and end as if they had not been interrupted.
"""

import numpy as np
import pytest
import tensorflow as tf

from minc_tf import data
from minc_tf.training import inspect, tensorflow_images
from minc_tf.training.validation import validate

from .conftest import tiny_config


def device_config(**changes):
    return tiny_config(augment={"where": "device"}, **changes)


def test_batches_are_those_of_the_input_pipeline():
    """The same images in the same order, as bytes and without views."""
    config = device_config()
    source = tensorflow_images.load_train_source(config)
    strategy = tf.distribute.get_strategy()
    batches = tensorflow_images.shared_batches(
        config, strategy, source, None, 3
    )
    assert batches.element_spec.dtype == tf.uint8
    assert batches.element_spec.shape == (16, 32, 32, 3)

    def plain(batch):
        return batch["images"], batch["images"]

    expected = data.view_batches(
        source, plain, 16, seed=config.seed, start_step=3
    )
    for ours, (images, _) in zip(
        batches.take(3), expected.take(3), strict=True
    ):
        np.testing.assert_array_equal(ours, images)


def test_images_of_different_sizes_are_refused(tmp_path):
    images = [np.full([9 + i, 20, 3], 9, np.uint8) for i in range(16)]
    for i, image in enumerate(images):
        (tmp_path / "data").mkdir(exist_ok=True)
        png = tf.io.encode_png(image).numpy()
        (tmp_path / "data" / f"{i}.png").write_bytes(png)
    config = device_config(
        data={"name": "folder", "data_dir": str(tmp_path / "data")}
    )
    config.data.num_examples = None
    with pytest.raises(ValueError, match=r"one size.*config\.data\.image_size"):
        tensorflow_images.load_train_source(config)
    source = data.load("folder", data_dir=str(tmp_path / "data"))
    with pytest.raises(ValueError, match=r"one size.*with image_size"):
        data.image_batches(source, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": {"where": "gpu"}}, "augment.where must be one of 'input'"),
        ({"data": {"service": "grpc://a:1"}}, "data.service='grpc://a:1'"),
    ],
)
def test_settings_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        validate(tiny_config(**{"augment": {"where": "device"}, **changes}))


def test_multi_crop_is_refused():
    config = device_config()
    config.views.small_crops = 2
    with pytest.raises(ValueError, match=r"views\.small_crops=2.*'device'"):
        validate(config)


def test_inspection_measures_what_the_network_gets(tmp_path):
    report = inspect(device_config(), tmp_path, batches=1)
    assert [view["shape"] for view in report["views"]] == [[16, 32, 32, 3]] * 2
    assert report["images_per_second"]["views"] > 0
