"""What is JAX's alone in the train step."""

import keras
import numpy as np
import pytest
from gradients import BACKEND

import minc_tf
from models import tiny, usual

if BACKEND != "jax":
    pytest.skip("the step of JAX", allow_module_level=True)
import jax


def test_parts_bound_the_memory():
    """XLA must not merge the pass for the embeddings with the second one."""
    needed = {}
    for count in (1, 8):
        encoder = minc_tf.models.small_resnet(
            image_shape=(16, 16, 3), filters=(8, 8)
        )
        model = minc_tf.build(
            "minc",
            encoder,
            micro_batches=count,
            **usual.widths("minc", 16, 4),
        )
        model.compile("sgd")
        views = [np.zeros((64, 16, 16, 3), "float32")] * 2
        step = jax.jit(model.train_step).lower(
            tiny.jax_state(model), tuple(views)
        )
        analysis = step.compile().memory_analysis()
        needed[count] = analysis.temp_size_in_bytes
    assert needed[8] < 0.4 * needed[1]


def test_a_step_that_cannot_be_traced_leaves_the_model_alone():
    model = tiny.build(norm="batch")
    tiny.fit(model)
    before = tiny.snapshot(model)
    view1, view2 = tiny.views()
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="must have the same shape"):
            call(view1, view2[:, :2], verbose=0)
    tiny.assert_equal(tiny.snapshot(model), before)
    tiny.fit(model)


@pytest.mark.parametrize("call", ["predict", "predict_on_batch"])
def test_prediction_builds_the_target_as_a_copy(call):
    def build():
        encoder = keras.Sequential([keras.layers.Flatten()])
        return minc_tf.TwoViewModel(
            encoder,
            keras.layers.Dense(3),
            tiny.objective("cosine"),
            target_momentum=0.9,
        )

    model = build()
    getattr(model, call)(tiny.views()[0])
    tiny.assert_equal(
        model.target_projector.get_weights(), model.projector.get_weights()
    )
    with pytest.raises(ValueError, match=rf"{call}: .* array .*generator.*bui"):
        getattr(build(), call)(tiny.pipeline(tiny.views()[:1]))


def test_synchronised_statistics_are_left_out_where_they_are_refused():
    """As in the configuration of a model that was saved on TensorFlow."""
    model = tiny.build(norm="batch")
    config = model.get_config()
    layers = config["encoder"]["config"]["layers"]
    (norm,) = (x for x in layers if x["class_name"] == "BatchNormalization")
    norm["config"]["synchronized"] = True
    again = minc_tf.TwoViewModel.from_config(config)
    assert not again.encoder.get_layer("norm").synchronized
    assert norm["config"]["synchronized"], "the argument is left alone"
    with pytest.raises(TypeError, match="synchronized"):
        keras.saving.deserialize_keras_object(config["encoder"])
