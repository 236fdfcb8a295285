"""One clear line for what cannot work."""

import keras
import numpy as np
import pytest
from gradients import BACKEND

from minc_tf import TwoViewModel
from minc_tf.objectives import MINC
from models import tiny


def make(**kwargs):
    arguments = {
        "encoder": tiny.encoder(),
        "projector": tiny.linear(tiny.FEATURES, "projector"),
        "objective": tiny.objective("minc"),
        **kwargs,
    }
    return TwoViewModel(**arguments)


@pytest.mark.parametrize(
    "value, received", [("minc", "str"), (MINC, "type"), (None, "NoneType")]
)
def test_objective_of_another_type(value, received):
    with pytest.raises(TypeError, match=f"objective must .*{received}"):
        make(objective=value)


@pytest.mark.parametrize("value", [0, -1, 2.0, "2", True])
def test_micro_batches_out_of_range(value):
    with pytest.raises(ValueError, match=f"micro_batches must .*{value!r}"):
        make(micro_batches=value)


@pytest.mark.parametrize("value", [-0.1, 1.5, "0.9"])
def test_target_momentum_out_of_range(value):
    with pytest.raises(ValueError, match=f"target_momentum must .*{value!r}"):
        make(target_momentum=value)


def test_encoder_that_gives_feature_maps():
    maps = keras.Sequential(
        [keras.Input(tiny.SHAPE), keras.layers.Conv2D(4, 3)]
    )
    with pytest.raises(ValueError, match=r"\(None, 2, 2, 4\).*as_encoder"):
        make(encoder=maps)


def test_objective_of_another_dimension_than_the_projector():
    with pytest.raises(ValueError, match=r"dim=7, .* 5 dimensions"):
        make(objective=MINC(7, mu=None))


@pytest.mark.parametrize(
    "argument", ["loss", "metrics", "weighted_metrics", "loss_weights"]
)
def test_a_loss_or_metrics_in_compile(argument):
    with pytest.raises(ValueError, match=f"compile: {argument} cannot"):
        make().compile(optimizer="sgd", **{argument: ["mse"]})


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_gradient_accumulation_of_the_optimizer(policy):
    """Also inside the loss scaling that float16 wraps around it."""
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=4)
    keras.config.set_dtype_policy(policy)
    try:
        model = make()
        with pytest.raises(
            ValueError, match=r"gradient_accumulation_steps=4.*micro_batches"
        ):
            model.compile(optimizer=optimizer)
    finally:
        keras.config.set_dtype_policy("float32")


def test_one_view_or_something_else():
    model = tiny.build()
    view = tiny.views()[0]
    with_labels = tiny.batch_of((view, view, np.zeros(tiny.BATCH)))
    with pytest.raises(ValueError, match=r"another part of shape \(8,\)"):
        model.fit(with_labels, verbose=0)
    with pytest.raises(ValueError, match="two tensors"):
        model.fit(view, verbose=0)
    with pytest.raises(ValueError, match=r"two tensors .*received dict"):
        by_name = {"a": view, "b": view}
        if BACKEND == "tensorflow":
            by_name = tiny.batch_of(by_name)
        model.evaluate(by_name, verbose=0)


def test_further_views_that_do_not_fit():
    view = tiny.views()[0]
    small = view[:, :2, :2]
    crops = view, view, small
    with pytest.raises(ValueError, match=r"\(4, 4, 3\), and a view is \(2, 2"):
        tiny.build().fit(tiny.batch_of(crops), verbose=0)
    with pytest.raises(ValueError, match="micro_batches=2 works with two"):
        tiny.build(micro_batches=2).fit(tiny.batch_of(crops), verbose=0)
    unequal = tiny.batch_of((*crops, small[:, :1]))
    with pytest.raises(ValueError, match=r"2, 2, 3\) and \(8, 1, 2, 3\)"):
        tiny.build(pooled=True).fit(unequal, verbose=0)


def test_views_of_different_shapes():
    model = tiny.build()
    view1, view2 = tiny.views()
    with pytest.raises(ValueError, match=r"4, 4, 3\) and \(.*, 4, 3, 3\)"):
        model.fit(view1, view2[:, :, :3], verbose=0)
    with pytest.raises(ValueError, match=r"\(8, 4, 4, 3\) and \(6, "):
        model.train_on_batch(view1, view2[:6])


def test_labels_given_as_the_second_view():
    model = tiny.build()
    with pytest.raises(ValueError, match="labels are not used"):
        model.fit(tiny.views()[0], np.zeros(tiny.BATCH), verbose=0)
