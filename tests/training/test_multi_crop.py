"""Runs with small crops beside the two views."""

import numpy as np
import pytest

from minc_tf.training import (
    from_settings,
    load_run,
    run,
    tensorflow_images,
    validate,
)

from .conftest import tiny_config

CROPS = {"small_crops": 2, "small_size": 16, "small_area": (0.1, 0.3)}


def test_views_of_two_sizes():
    views = tensorflow_images.build_views(tiny_config(views=CROPS))
    assert [tuple(size) for size in views.sizes] == [(32, 32)] * 2 + [
        (16, 16)
    ] * 2
    assert [config.area for config in views.configs[2:]] == [(0.1, 0.3)] * 2


def test_run_loads(tmp_path):
    config = tiny_config(epochs=1, views=CROPS)
    summary = run(config, tmp_path / "run")
    assert np.isfinite(summary["loss"])
    model, _config = load_run(tmp_path / "run")
    # The encoder takes images of any size; test_savedmodel exports such a one.
    assert model.encoder.input_shape == (None, None, None, 3)
    kernel = model.encoder.get_layer("stem_conv").kernel
    before = from_settings.build_model(config).encoder.weights[0]
    assert np.abs(kernel - before).max() > 0


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"views": {"small_size": 16}},
            "small_size=16 needs config.views.small_crops",
        ),
        ({"views": {"small_crops": -1}}, "small_crops must be an int"),
        (
            {"views": CROPS, "micro_batches": 2},
            "micro_batches=2 works with two views; .*small_crops=2",
        ),
    ],
)
def test_settings_that_do_not_work(changes, message):
    with pytest.raises(ValueError, match=message):
        validate(tiny_config(**changes))
